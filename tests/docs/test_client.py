"""docs/client.md: its programs run, against a real hub."""

import inspect
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from hookbot import client
from hookbot.access.tokens import make_token
from hookbot.testing import KEY, open_test_hub
from hookbot.testing.hub import TestHub

pytestmark = pytest.mark.slow

PAGE = (Path(__file__).parents[2] / "docs" / "client.md").read_text()
PROGRAMS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def topic_of(program: str) -> str:
    """A topic that a program receives."""
    topic: str = re.findall(r"/(?:sub|pub)/([^\"]*)\"", program)[0]
    return topic + "main" if topic.endswith("/") else topic


def is_endless(program: str) -> bool:
    return "async for" in program and "follow=False" not in program


@pytest.mark.parametrize("program", PROGRAMS, ids=[topic_of(program) for program in PROGRAMS])
async def test_a_program_of_the_page_runs_and_prints_something(program: str) -> None:
    with trio.fail_after(100):
        async with open_test_hub() as hub:
            await hub.publish(topic_of(program), b"body")
            address = hub.url.replace("://", f"://{make_token(KEY, '/')}@")
            script = program.replace("https://TOKEN@hub.example.com", address)
            command = [sys.executable, "-u", "-c", script]
            process = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            printed = await printed_first(process, hub, topic_of(program))
            if is_endless(program):
                process.send_signal(signal.SIGINT)
            await process.wait()
            assert process.stderr
            complained = bytes(await process.stderr.receive_some(1 << 20)).decode()
    assert printed, complained
    assert process.returncode == 0 or "KeyboardInterrupt" in complained, complained


async def printed_first(process: trio.Process, hub: TestHub, topic: str) -> bytes:
    """First output of the program, while messages keep arriving."""
    async with trio.open_nursery() as nursery:

        async def keep_publishing() -> None:
            while True:
                await hub.publish(topic, b"body")
                await trio.sleep(0.1)

        nursery.start_soon(keep_publishing)
        assert process.stdout
        printed = bytes(await process.stdout.receive_some())
        nursery.cancel_scope.cancel()
    return printed


def test_every_public_name_of_the_client_is_on_the_page() -> None:
    names = set(client.__all__) - {"Event", "Lost", "Messages", "Publisher"}
    assert [name for name in sorted(names) if name not in PAGE] == []


def test_the_tables_have_every_parameter_in_its_order() -> None:
    section = PAGE.partition("\n## Parameters\n")[2].partition("\n## ")[0]
    rows = [name for cells in re.findall(r"(?m)^\| (`.*?) \|", section) for name in re.findall(r"`(\w+)`", cells)]
    _, *listen = inspect.signature(client.listen).parameters
    _, _, *publish = inspect.signature(client.publish).parameters
    assert rows == listen + publish
