"""Dead letters: each is kept before its message is acknowledged."""

import json
import os
from pathlib import Path

import pytest
import trio

from hookbot.delivery.dead_letters import DeadLetterFile, DeadLetterTopic, GaveUp, NoDeadLetters
from hookbot.delivery.line_file import open_line_file
from hookbot.errors import Refused, Unauthorized
from hookbot.protocol.envelope import from_envelope
from hookbot.protocol.failures import Failure
from hookbot.protocol.message import Message
from hookbot.testing import open_test_hub
from support.full_disk import limited_files

ID = "abcdefgh-000000000000001"
MESSAGE = Message("a/b", b"\xff\0", (("X-A", "1"), ("X-A", "2")), hops=("one",), id=ID, time_us=1)


async def test_a_file_gets_a_line_for_each_with_the_whole_message_and_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "dead.jsonl"
    async with trio.open_nursery() as nursery:
        for n in range(5):
            nursery.start_soon(DeadLetterFile(path).take, MESSAGE, f"reason\n{n}")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [from_envelope(line) for line in lines] == [MESSAGE] * 5
    assert {line["failure"] for line in lines} == {f"reason\n{n}" for n in range(5)}


async def test_only_its_owner_can_read_the_file(tmp_path: Path) -> None:
    path = tmp_path / "dead.jsonl"
    assert await DeadLetterFile(path).take(MESSAGE, "x") == f"{path} (hookbot retry-file delivers it again)"
    assert path.stat().st_mode & 0o777 == 0o600


async def test_a_file_that_cannot_be_written_keeps_nothing(tmp_path: Path) -> None:
    with pytest.raises(GaveUp, match=rf"cannot write {ID} to .*: Is a directory"):
        await DeadLetterFile(tmp_path).take(MESSAGE, "x")


async def test_a_file_that_another_process_keeps_is_not_waited_for_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hookbot.delivery.dead_letters.APPENDING_S", 0)
    path = tmp_path / "dead.jsonl"
    with open_line_file(path), pytest.raises(GaveUp, match=f"cannot write {ID} to .*: another process writes to it"):
        await DeadLetterFile(path).take(MESSAGE, "first")


@pytest.mark.parametrize("taken", [1, 50])
async def test_a_disk_that_becomes_full_leaves_no_half_of_a_line(tmp_path: Path, taken: int) -> None:
    path = tmp_path / "dead.jsonl"
    letters = DeadLetterFile(path)
    await letters.take(MESSAGE, "first")
    before = path.read_bytes()

    # As a full disk does, it takes what there is room for.
    with limited_files(len(before) + taken), pytest.raises(GaveUp, match=f"cannot write {ID} to .*: File too large"):
        await letters.take(MESSAGE, "second")
    assert path.read_bytes() == before

    await letters.take(MESSAGE, "third")
    assert [json.loads(line)["failure"] for line in path.read_text().splitlines()] == ["first", "third"]


@pytest.mark.parametrize("whole", ['{"failure": "first"}\n', ""])
async def test_half_of_a_line_that_a_crash_left_stays_a_line_of_its_own(tmp_path: Path, whole: str) -> None:
    path = tmp_path / "dead.jsonl"
    path.write_text(f'{whole}{{"half')
    for why in ("second", "third"):
        await DeadLetterFile(path).take(MESSAGE, why)

    *kept, second, third = path.read_text().splitlines()
    assert kept == [*whole.splitlines(), '{"half']
    assert [json.loads(line)["failure"] for line in (second, third)] == ["second", "third"]


async def test_a_pipe_takes_dead_letters(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    for why in ("first", "second"):
        await DeadLetterFile(path).take(MESSAGE, why)

    assert [json.loads(line)["failure"] for line in os.read(reader, 65536).splitlines()] == ["first", "second"]
    os.close(reader)


async def test_a_device_that_is_full_keeps_nothing() -> None:
    with pytest.raises(GaveUp, match=r"cannot write .* to /dev/full: No space left on device"):
        await DeadLetterFile(Path("/dev/full")).take(MESSAGE, "x")


async def test_a_topic_gets_the_message_with_the_reason_in_a_header_once() -> None:
    with trio.fail_after(20):
        async with open_test_hub() as hub:
            letters = DeadLetterTopic(hub.url_for("/pub/dead"), None, None, "forward-test")
            for _ in range(2):
                place = await letters.take(MESSAGE, "because \u2028 of\r\nthat")
            await hub.publish("dead", b"the next")
            kept, following = await hub.wait_for("dead", 2)
    assert (kept.body, kept.hops) == (MESSAGE.body, ("one", "forward-test"))
    assert [value for name, value in kept.headers if name == "X-A"] == ["1", "2"]
    assert kept.header("Hookbot-Failure") == "because \\u2028 of\\r\\nthat"
    failure = Failure.claimed_by(kept)
    assert failure == Failure("forward-test", MESSAGE.id, MESSAGE.topic, "because \\u2028 of\\r\\nthat")
    assert place == f"the dead-letter topic, as {kept.id}"
    assert following.body == b"the next"


@pytest.mark.parametrize(
    ("why", "shown"),
    [("x" * 999 + " and more", "x" * 999), (" x ", "x"), (" ", ""), ("x" * 998 + "\u2028", "x" * 998 + "\\u")],
)
async def test_a_reason_may_be_long_and_have_blanks_anywhere(why: str, shown: str) -> None:
    with trio.fail_after(20):
        async with open_test_hub() as hub:
            await DeadLetterTopic(hub.url_for("/pub/dead"), None, None, "forward-test").take(MESSAGE, why)
            [kept] = await hub.wait_for("dead", 1)
    assert kept.header("Hookbot-Failure") == shown


async def test_a_topic_that_refuses_keeps_nothing() -> None:
    with trio.fail_after(20):
        async with open_test_hub() as hub:
            with pytest.raises(Unauthorized):
                await DeadLetterTopic(f"{hub.url}/pub/dead", "wrong", None, "x").take(MESSAGE, "x")


async def test_nobody_to_keep_it_says_so() -> None:
    with pytest.raises(GaveUp, match="a/b abcdefgh-000000000000001: because"):
        await NoDeadLetters().take(MESSAGE, "because")


@pytest.mark.parametrize("url", ["http://hub/sub/a", "http://hub:port/pub/a"])
def test_a_topic_that_cannot_be_published_to_is_refused_at_once(url: str) -> None:
    with pytest.raises(Refused):
        DeadLetterTopic(url, None, None, "forward")
