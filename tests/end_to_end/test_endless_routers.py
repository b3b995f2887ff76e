"""A hub with routers that never end: it ends within its time of grace, however often it is told to."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from hookbot.access.tokens import make_token
from support import GUARD_S, KEY

pytestmark = pytest.mark.slow

ROUTER = """
import subprocess, sys, threading, time
import trio

def forever():
    threading.Event().wait()

async def in_a_thread():
    await trio.to_thread.run_sync(forever)

async def in_a_shield():
    with trio.CancelScope(shield=True):
        await trio.sleep_forever()

async def in_a_subprocess():
    with trio.CancelScope(shield=True):
        await trio.run_process([sys.executable, "-c", "import time; time.sleep(20)"])

async def in_a_thread_of_its_own():
    threading.Thread(target=forever, name="endless").start()
    await trio.sleep_forever()

async def on_the_loop():
    while True:
        pass

async def at_its_end():
    pass

class Endless:
    name = "endless"
    topics = ("in",)

    def __init__(self):
        if WAY == "at_its_start":
            print("starting", flush=True)
            forever()

    async def __aenter__(self):
        pass

    async def __aexit__(self, *failure):
        if WAY == "at_its_end":
            await in_a_shield()

    async def route(self, message, publish):
        print("routing", flush=True)
        await globals()[WAY]()
"""
GRACE_S = 1
# A busy machine holds up the end of a process as a router does, and is given the time for it.
PROGRAM = f"""
from hookbot.cli import main
from hookbot.hub import hub, shutdown_limit

shutdown_limit.SAYING_S = shutdown_limit.LAST_S = {GUARD_S}
hub.__dict__.update(LIMITS)
main()
"""


def wait_for(process: subprocess.Popen[str], text: str) -> str:
    assert process.stdout
    for line in process.stdout:
        if text in line:
            return line
    raise AssertionError(process.stderr.read() if process.stderr else "")


@contextmanager
def hub(directory: Path, way: str, **limits: float) -> Iterator[subprocess.Popen[str]]:
    """A hub with a router that does not end in this way, and with these limits in place of its own ones."""
    router = directory / "endless.py"
    router.write_text(f"WAY = {way!r}\n{ROUTER}")
    words = ["--bind", "127.0.0.1:0", "--data-dir", directory, "--router", router, "--grace", f"{GRACE_S}s"]
    with subprocess.Popen(
        [sys.executable, "-c", f"LIMITS = {limits}\n{PROGRAM}", "serve", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "HOOKBOT_KEY": KEY},
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def route_one(process: subprocess.Popen[str]) -> None:
    url = wait_for(process, "listens on").split()[-1]
    auth = make_token(KEY, "/pub/in"), ""
    httpx.post(f"{url}/pub/in", auth=auth, content=b"x", timeout=GUARD_S).raise_for_status()
    wait_for(process, "routing")


@pytest.mark.parametrize(
    ("way", "code"),
    [
        ("in_a_thread", 0),
        ("in_a_shield", 0),
        ("in_a_subprocess", 0),
        ("in_a_thread_of_its_own", 0),
        ("on_the_loop", 1),
        ("at_its_end", 0),
    ],
)
def test_a_hub_ends_whatever_its_routers_do(tmp_path: Path, way: str, code: int) -> None:
    # Only this one is ended by the limit on all of its shutdown.
    limits = {} if way == "on_the_loop" else {"MARGIN_S": GUARD_S}
    with hub(tmp_path, way, **limits) as process:
        route_one(process)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=GUARD_S)

    assert process.returncode == code, said
    assert "the process ends, although not all of its tasks and threads do" in said


def test_a_hub_that_is_told_to_end_or_reload_while_it_ends_ends_as_if_it_were_told_once(tmp_path: Path) -> None:
    with hub(tmp_path, "at_its_end", MARGIN_S=GUARD_S) as process:
        route_one(process)
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            process.send_signal(number)

        assert process.wait(GUARD_S) == 0


def test_a_hub_that_is_still_starting_ends_at_once(tmp_path: Path) -> None:
    with hub(tmp_path, "at_its_start", MARGIN_S=GUARD_S, LEFT_BEHIND_S=GUARD_S) as process:
        wait_for(process, "starting")
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=GUARD_S)

    assert process.returncode == 0
    assert not said
