"""kill -9 in the middle of routing, again and again: nothing is lost, nothing is doubled."""

import hmac
import json
import signal
import subprocess
import sys
from collections import Counter
from math import inf
from pathlib import Path

import pytest

from hookbot.broker.broker import open_broker
from hookbot.log.sqlite import open_sqlite_log
from hookbot.protocol.message import Draft
from hookbot.protocol.topics import TopicFilter

pytestmark = pytest.mark.slow

DELIVERIES = 2000
REPOSITORIES = 20
KILLS = 3
SECRET = "s3cret"

HUB = """
import os, signal, sys, trio
from pathlib import Path
from hookbot.broker.broker import open_broker
from hookbot.log.sqlite import open_sqlite_log
from hookbot.routers.runner import RouterSpec, open_routers

async def main():
    spec = RouterSpec("github", "github", {"secrets": ["s3cret"]})
    async with open_sqlite_log(Path(sys.argv[1])) as log, open_broker(log) as broker:
        async with open_routers(broker, [spec], str) as routers:

            def kill_if_there():
                [state] = routers.snapshot()
                position = int(state["position"][-15:])
                if position >= float(sys.argv[2]) or state["lag"] == 0:
                    print(position, flush=True)
                    os.kill(os.getpid(), signal.SIGKILL)

            # After each commit, and not now and then: the machine may be busy, or the router fast.
            broker.channels.after_batch.append(kill_if_there)
            while True:
                await trio.sleep(0.002)
                kill_if_there()

trio.run(main)
"""


def delivery(number: int) -> Draft:
    body = json.dumps({"repository": {"full_name": f"acme/repo{number % REPOSITORIES}"}, "number": number}).encode()
    signature = hmac.new(SECRET.encode(), body, "sha256").hexdigest()
    headers = (("X-Hub-Signature-256", f"sha256={signature}"), ("X-GitHub-Delivery", str(number)))
    return Draft("/unsafe/github.com/org/acme", body, headers)


async def publish_deliveries(directory: Path) -> None:
    async with open_sqlite_log(directory) as log, open_broker(log) as broker:
        await broker.commit([], cursors={"router/github": 0})
        for start in range(0, DELIVERIES, 500):
            await broker.commit([delivery(number) for number in range(start, start + 500)])


def route_until(directory: Path, goal: float) -> int:
    """Position at which a hub was killed: the first it noticed from `goal` on, or the newest."""
    # It kills itself: on a busy machine, this process would be too late.
    hub = subprocess.run([sys.executable, "-c", HUB, str(directory), str(goal)], capture_output=True, check=False)
    assert hub.returncode == -signal.SIGKILL, hub.stderr
    return int(hub.stdout)


async def test_a_hub_that_is_killed_in_the_middle_of_routing_loses_and_doubles_nothing(tmp_path: Path) -> None:
    await publish_deliveries(tmp_path)
    goals = [kill * DELIVERIES // (KILLS + 1) for kill in range(1, KILLS + 1)]
    reached = [route_until(tmp_path, goal) for goal in goals]
    route_until(tmp_path, inf)

    async with open_sqlite_log(tmp_path) as log:
        page = await log.read(TopicFilter(("github.com/repo/",)), after=0, limit=100_000, max_bytes=1 << 30)
    published = Counter((message.topic, message.header("X-GitHub-Delivery")) for message in page.messages)

    assert published == {(f"github.com/repo/acme/repo{n % REPOSITORIES}", str(n)): 1 for n in range(DELIVERIES)}
    # A router may be at the end before the last kill.
    assert sum(routed < DELIVERIES for routed in reached) >= KILLS - 1
