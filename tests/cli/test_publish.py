"""``hookbot publish``."""

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from hookbot.cli.publish import publish
from support import GUARD_S
from support.commands import Caller, running
from support.hubs import ThreadHub
from support.targets import target


def test_a_message_is_published_and_its_id_printed(
    thread: ThreadHub, topic: str, pub: str, call: Caller, tmp_path: Path
) -> None:
    (tmp_path / "body").write_bytes(b"\xff\0")
    words = ["--header", "X-A: 1", "-H", "x-a:2", "--type", "image/x", pub, tmp_path / "body"]
    code, out, _ = call("publish", *words)
    [message] = thread.wait_for(topic)
    assert (code, out.decode()) == (0, f"{message.id}\n")
    assert message.body == b"\xff\0"
    assert [pair for pair in message.headers if pair[0].lower() == "x-a"] == [("X-A", "1"), ("x-a", "2")]
    assert message.header("Content-Type") == "image/x"


def test_a_message_is_published_once_under_a_key_with_the_hops_of_the_environment(
    thread: ThreadHub, topic: str, pub: str, call: Caller, tmp_path: Path
) -> None:
    (tmp_path / "headers").write_text("X-A: 1\n\nX-B: 2\n")
    for _ in range(2):
        call("publish", "--key", "k", "--header", f"@{tmp_path}/headers", pub, "/dev/null", HOOKBOT_HOPS="one,two")
    thread.publish(topic, b"the next")
    first, following = thread.wait_for(topic, 2)
    assert (first.body, first.hops) == (b"", ("one", "two"))
    assert (first.header("X-A"), first.header("X-B")) == ("1", "2")
    assert following.body == b"the next"


def test_standard_input_is_published(thread: ThreadHub, topic: str, pub: str) -> None:
    result = CliRunner().invoke(publish, [pub], input=b"from stdin")
    [message] = thread.wait_for(topic)
    assert (result.exit_code, result.stdout) == (0, f"{message.id}\n")
    assert message.body == b"from stdin"


@pytest.mark.slow
def test_a_message_that_is_stored_is_said_to_be_even_if_its_id_cannot_be_printed(
    thread: ThreadHub, topic: str, pub: str
) -> None:
    words = [sys.executable, "-m", "hookbot", "publish", pub, "/dev/null"]
    with open("/dev/full", "wb") as full:
        ended = subprocess.run(words, check=False, stdout=full, stderr=subprocess.PIPE, timeout=GUARD_S)

    [message] = thread.wait_for(topic)
    says = f"hookbot: the message is stored as {message.id}, but standard output cannot be written: No space left"
    assert (ended.returncode, ended.stderr.decode()[: len(says)]) == (1, says)


@pytest.mark.slow
def test_a_standard_input_that_is_closed_is_named() -> None:
    words = ["sh", "-c", 'exec "$@" <&-', "sh", sys.executable, "-m", "hookbot", "publish", "http://127.0.0.1:1/pub/a"]

    ended = subprocess.run(words, check=False, capture_output=True, timeout=GUARD_S)

    says = b"hookbot: cannot read standard input: Bad file descriptor\n"
    assert (ended.returncode, ended.stderr) == (2, says)


@pytest.mark.slow
async def test_whoever_waits_for_a_hub_can_be_interrupted() -> None:
    async with target(None) as server, running("publish", f"http://127.0.0.1:{server.port}/pub/a") as publisher:
        await server.arrived(1)
        assert await publisher.interrupted() == 130


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["{hub}/pub/a", "/dev/null"], 3, "401 Unauthorized"),
        (["--header", "nonsense", "{hub}/pub/a", "/dev/null"], 2, "a header must be 'Name: value'"),
        (["--header", "@/nonexistent", "{hub}/pub/a", "/dev/null"], 2, "cannot be read"),
        (["{hub}/pub/a", "/nonexistent"], 2, "No such file"),
        (["{hub}/pub/a", "/proc/self/mem"], 2, "cannot read /proc/self/mem: Input/output error"),
        (["--cafile", "/dev/null", "{hub}/pub/a", "/dev/null"], 2, "cannot read the CA file"),
    ],
)
def test_a_publish_that_cannot_be_done_is_refused_in_one_line(
    thread: ThreadHub, call: Caller, words: list[str], code: int, said: str
) -> None:
    ended, out, err = call("publish", *(word.format(hub=thread.url) for word in words))
    assert (ended, out) == (code, b"")
    assert said in err
