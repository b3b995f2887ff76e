"""Recordings: what was recorded is on disk, is gone on with, and is read again."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Self

import pytest
import trio

from hookbot.client import Gap
from hookbot.delivery.recording import (
    GATHER_BYTES,
    MAX_LINE_BYTES,
    Playback,
    Recorder,
    Recording,
    open_recorder,
    parse_line,
)
from hookbot.delivery.shutdown import Stop
from hookbot.errors import HookbotError, Refused, Unauthorized
from hookbot.protocol.envelope import encode_line, to_envelope
from hookbot.protocol.frames import HookbotV1, JsonLines
from hookbot.protocol.message import Message, format_id
from support.full_disk import limited_files

GAP = Gap("retention", None, format_id("abcdefgh", 9))


def make(number: int, body: bytes = b"\xff\0") -> Message:
    return Message("a/b", body, (("X-A", "1"), ("X-A", "2")), id=format_id("abcdefgh", number), time_us=number)


def line(number: int) -> bytes:
    return encode_line(to_envelope(make(number)))


class Items:
    """What a subscription has, and how it ends."""

    def __init__(self, *given: Message | Gap | HookbotError) -> None:
        self._given = iter(given)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message | Gap:
        item = next(self._given, None)
        if isinstance(item, HookbotError):
            raise item
        if item is None:
            raise StopAsyncIteration
        return item


@asynccontextmanager
async def stopping() -> AsyncIterator[Stop]:
    with trio.fail_after(20):
        yield Stop(trio.CancelScope())


async def record(
    path: Path, *given: Message | Gap | HookbotError, limit: int | None = None, wanted: range = range(1000)
) -> Recorder:
    async with stopping() as stop:
        with open_recorder(path) as recorder:
            await recorder.record(Items(*given), lambda message: message.time_us in wanted, limit, stop)
    return recorder


# -- what is recorded


async def test_messages_are_recorded_and_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    first = await record(path, make(1), make(2))
    second = await record(path, make(3))

    assert (first.last_id, second.last_id) == (None, make(2).id)
    assert (first.count, second.count) == (2, 1)
    assert list(Recording(BytesIO(path.read_bytes()), "a")) == [make(1), make(2), make(3)]
    assert path.stat().st_mode & 0o777 == 0o600


async def test_only_what_is_wanted_counts_and_a_gap_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "a.jsonl"
    recorder = await record(path, make(1), GAP, *map(make, range(2, 9)), limit=3, wanted=range(1, 9, 2))

    assert (recorder.count, path.read_bytes()) == (3, line(1) + line(3) + line(5))
    assert caplog.messages == [f"messages before {GAP.before} are missing (retention)"]


async def test_what_comes_at_once_waits_once_for_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = []
    monkeypatch.setattr(os, "fsync", lambda number: synced.append(os.fstat(number).st_size))
    large = make(9, b"x" * GATHER_BYTES)

    await record(tmp_path / "a.jsonl", large, make(1), make(2))

    assert len(synced) == 2


async def test_what_is_recorded_is_in_the_file_while_the_next_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    send, receive = trio.open_memory_channel[Message | Gap](0)
    async with stopping() as stop, trio.open_nursery() as nursery:
        with open_recorder(path) as recorder:
            nursery.start_soon(recorder.record, receive, lambda _: True, None, stop)
            await send.send(make(1))
            while not recorder.count:
                await trio.lowlevel.checkpoint()
            assert path.read_bytes() == line(1)
            # A request to stop ends the wait.
            stop.ask()


@pytest.mark.parametrize("error", [Unauthorized("no"), Refused("no")])
async def test_what_came_before_an_error_is_recorded(tmp_path: Path, error: HookbotError) -> None:
    path = tmp_path / "a.jsonl"
    with pytest.raises(type(error)):
        await record(path, make(1), error)

    assert path.read_bytes() == line(1)


async def test_a_message_without_an_id_is_not_recorded(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with pytest.raises(Refused, match=r"older than 1\.0"):
        await record(path, make(1), replace(make(2), id=""))

    assert path.read_bytes() == line(1)


async def test_a_full_disk_ends_it(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    await record(path, make(1))
    with limited_files(len(line(1)) + 5), pytest.raises(HookbotError, match=r"cannot write to .*: File too large"):
        await record(path, make(2))

    assert path.read_bytes() == line(1)


# -- where it goes on


@pytest.mark.parametrize("whole", [0, 1, 3])
@pytest.mark.parametrize("cut", [1, 7, 8, 60])
async def test_half_a_line_at_the_end_is_removed(
    tmp_path: Path, whole: int, cut: int, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a.jsonl"
    before = b"".join(map(line, range(whole)))
    path.write_bytes(before + line(9)[:cut])

    recorder = await record(path, make(9))

    assert recorder.last_id == (make(whole - 1).id if whole else None)
    assert path.read_bytes() == before + line(9)
    assert f"the last line of {path} is cut off" in caplog.text


async def test_the_last_line_may_be_long(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    large = make(2, b"x" * 300_000)
    await record(path, make(1), large)
    path.write_bytes(path.read_bytes() + line(3)[:100])

    assert (await record(path)).last_id == large.id


@pytest.mark.parametrize("content", [b"notes\n", b"notes", line(1) + b"notes", b'{"type":"gap"}\n', b"{}\n", b"\n"])
async def test_a_file_of_something_else_is_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(content)
    with pytest.raises(HookbotError, match="does not end with a message"):
        await record(path, make(1))

    assert path.read_bytes() == content


async def test_what_is_no_file_cannot_be_gone_on_with(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(HookbotError, match="no file that can be resumed"):
            await record(path)


async def test_two_do_not_record_to_one_file(tmp_path: Path) -> None:
    with open_recorder(tmp_path / "a.jsonl"), pytest.raises(HookbotError, match="another process writes to"):
        await record(tmp_path / "a.jsonl")


# -- what is read


def read(content: bytes) -> tuple[list[Message | Gap], int]:
    recording = Recording(BytesIO(content), "a.jsonl")
    return list(recording), recording.damaged


def test_heartbeats_and_gaps_of_a_stream_are_understood() -> None:
    gap = b'{"type":"gap","reason":"retention","after":null,"before":"abcdefgh-000000000000009"}\n'
    beat = b'{"type":"heartbeat","id":"abcdefgh-000000000000001"}\n'
    assert read(line(1) + beat + gap + line(9)) == ([make(1), GAP, make(9)], 0)


def test_a_damaged_line_is_told_and_skipped(caplog: pytest.LogCaptureFixture) -> None:
    assert read(line(1) + line(2)[:50] + b"\n" + line(3)) == ([make(1), make(3)], 1)
    assert caplog.messages == ["line 2 of a.jsonl is damaged, and skipped: it is not JSON"]


def test_the_end_of_a_file_may_be_cut_off(caplog: pytest.LogCaptureFixture) -> None:
    assert read(line(1) + line(2)[:50]) == ([make(1)], 0)
    assert caplog.messages == ["line 2 of a.jsonl, the last one, is cut off, and skipped"]
    assert read(line(1).rstrip()) == ([make(1)], 0)
    assert read(b"") == ([], 0)


def test_what_was_delivered_and_is_about_to_be_removed_is_no_message() -> None:
    assert read(b"#" + line(1)[1:] + line(2)) == ([make(2)], 0)


def test_it_tells_where_the_line_of_a_message_begins() -> None:
    recording = Recording(BytesIO(line(1) + b"#\n" + line(2)), "a.jsonl")
    assert [recording.offset for _ in recording] == [0, len(line(1)) + 2]


def test_a_line_without_an_end_is_read_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_LINE_BYTES > 6 * 34 << 20
    monkeypatch.setattr("hookbot.delivery.recording.MAX_LINE_BYTES", 1000)
    assert read(b"x" * 2500) == ([], 2)


async def test_a_file_is_played_and_tells_how_far_it_is(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(line(1) + b"x\n" + line(2))
    with open(path, "rb", buffering=0) as file:
        playback = Playback(file, "a.jsonl")
        played = []
        async for item in playback:
            assert isinstance(item, Message)
            playback.ack(item)
            played.append((item, playback.share(item)))

    assert [item for item, _ in played] == [make(1), make(2)]
    assert played[0][1] < played[1][1] == 1
    assert playback.damaged == 1


async def test_a_pipe_that_is_silent_holds_up_nobody() -> None:
    ours, theirs = os.pipe()
    with open(ours, "rb") as file, open(theirs, "wb", buffering=0) as pipe:
        playback = Playback(file, "pipe")
        pipe.write(line(1))
        assert await anext(playback) == make(1)
        assert playback.share(make(1)) == 0
        with trio.move_on_after(0.01) as waiting:
            await anext(playback)
        assert waiting.cancelled_caught
        # The abandoned thread reads until the end of the pipe.
        pipe.close()


# -- lines


@pytest.mark.parametrize("framing", [JsonLines(), HookbotV1()])
def test_a_line_is_read_as_it_was_written(framing: JsonLines | HookbotV1) -> None:
    assert parse_line(framing.message(make(1))) == make(1)
    assert parse_line(framing.gap(GAP) or b"") == GAP
    assert parse_line(framing.heartbeat(GAP.before)) is None


def test_what_else_stands_in_an_envelope_is_ignored() -> None:
    assert parse_line(JsonLines().message(make(1)).replace(b"{", b'{"failure":"500",', 1)) == make(1)


@pytest.mark.parametrize(
    "data", [b"", b"{", b"\xff\n", b"[" * 100_000, b"1\n", b"[]", b'"x"', b"{}", b'{"type":"gap"}']
)
def test_a_line_that_is_neither_an_envelope_nor_a_frame_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"it is not JSON|not an envelope|not a frame"):
        parse_line(data)
