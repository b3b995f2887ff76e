"""The listening half on a system without epoll, `fcntl`, `resource` and POSIX signals, as Windows and macOS are."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from hookbot.testing import open_test_hub
from support import GUARD_S
from support.targets import target

pytestmark = pytest.mark.slow

TESTS = Path(__file__).parents[1]


async def hookbot(*words: object, **environment: str) -> str:
    """Standard output of a command that ends well."""
    command = [sys.executable, "-m", "support.elsewhere", *map(str, words)]
    with trio.fail_after(GUARD_S):
        done = await trio.run_process(
            command, cwd=TESTS, env=os.environ | environment, capture_stdout=True, capture_stderr=True, check=False
        )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


async def test_what_is_published_there_is_heard_there() -> None:
    async with open_test_hub() as hub:
        await hookbot("publish", hub.url_for("/pub/greetings"), TESTS / "vectors" / "README.md")
        heard = await hookbot("listen", "--raw", "--since", "all", "--limit", 1, hub.url_for("/sub/greetings"))

        assert heard == (TESTS / "vectors" / "README.md").read_text()


async def test_a_topic_of_a_profile_is_heard_there(tmp_path: Path) -> None:
    async with open_test_hub() as hub:
        await hub.publish("greetings", b"hello")
        home = {"XDG_CONFIG_HOME": str(tmp_path)}
        await hookbot("login", hub.url_for("/sub/greetings"), **home)

        assert await hookbot("listen", "--raw", "--since", "all", "--limit", 1, "greetings", **home) == "hello"


async def test_messages_are_forwarded_there() -> None:
    async with open_test_hub() as hub, target() as server:
        await hub.publish("greetings", b"hello")
        await hookbot("forward", "--since", "all", "--limit", 1, hub.url_for("/sub/greetings"), server.url)

        assert [request.body for request in server.requests] == [b"hello"]


async def test_a_command_is_run_there_for_each_message() -> None:
    async with open_test_hub() as hub:
        await hub.publish("greetings", b"hello")
        url = hub.url_for("/sub/greetings")

        assert await hookbot("exec", "--since", "all", "--limit", 1, url, "--", "cat") == "greetings | hello\n"


async def test_a_command_that_takes_too_long_is_ended_there(tmp_path: Path) -> None:
    async with open_test_hub() as hub:
        await hub.publish("greetings", b"hello")
        given_up = tmp_path / "given-up.jsonl"
        limits = ("--timeout", "1s", "--max-attempts", 1, "--dead-letter", given_up)
        await hookbot(
            "exec", "--since", "all", "--limit", 1, *limits, hub.url_for("/sub/greetings"), "--", "sleep", 100
        )

        assert "exceeded its timeout" in given_up.read_text()


@pytest.mark.parametrize(
    "hidden", ["import fcntl", "from signal import SIGHUP", "from os import killpg", "from select import epoll"]
)
def test_what_is_hidden_is_there_on_this_machine(hidden: str) -> None:
    for before, failed in (("", False), ("from support import elsewhere; elsewhere.hide(); ", True)):
        done = subprocess.run([sys.executable, "-c", before + hidden], cwd=TESTS, capture_output=True, check=False)
        assert (b"ImportError" in done.stderr or b"ModuleNotFoundError" in done.stderr) is failed
