"""Output to readers that are slow, gone or a terminal."""

import io
import os
import select
from collections.abc import Iterator
from typing import cast

import pytest
import trio

from hookbot.delivery.output import MAX_LINE_BYTES, SMALL_BYTES, Output, PrefixedOutput
from hookbot.standard_files import OutputFailed
from support import GUARD_S


@pytest.fixture
def pipe() -> Iterator[tuple[io.FileIO, io.FileIO]]:
    read, write = os.pipe()
    with open(read, "rb", buffering=0) as reader, open(write, "wb", buffering=0) as writer:
        yield reader, writer


def read_all(reader: io.FileIO, size: int) -> bytes:
    data = b""
    while len(data) < size:
        data += reader.read(1 << 16)
    return data


def is_writable(file: io.FileIO) -> bool:
    return bool(select.select([], [file], [], 0)[1])


async def test_what_is_written_arrives_small_and_large_in_order(pipe: tuple[io.FileIO, io.FileIO]) -> None:
    reader, writer = pipe
    pieces = [b"a", b"b" * (1 << 20), b"c" * SMALL_BYTES]
    output = Output(writer.fileno())
    async with trio.open_nursery() as nursery:

        async def write_all() -> None:
            for piece in pieces:
                await output.write(piece)

        nursery.start_soon(write_all)
        assert await trio.to_thread.run_sync(read_all, reader, sum(map(len, pieces))) == b"".join(pieces)


async def test_what_several_write_does_not_mix(pipe: tuple[io.FileIO, io.FileIO]) -> None:
    reader, writer = pipe
    output = Output(writer.fileno())
    async with trio.open_nursery() as nursery:
        for letter in (b"a", b"b", b"c"):
            nursery.start_soon(output.write, letter * 200_000)
        data = await trio.to_thread.run_sync(read_all, reader, 600_000)
    assert {data[:200_000], data[200_000:400_000], data[400_000:]} == {b * 200_000 for b in (b"a", b"b", b"c")}


async def test_a_slow_reader_holds_up_nothing_else(pipe: tuple[io.FileIO, io.FileIO]) -> None:
    reader, writer = pipe
    lock = trio.Lock()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Output(writer.fileno(), lock).write, b"x" * (1 << 20))
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(Output(writer.fileno(), lock).write, b"small")
        for _ in range(10):
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
        reader.close()  # so that the thread comes to an end


async def test_what_is_given_up_goes_on_into_nothing_that_has_the_same_number_later(
    pipe: tuple[io.FileIO, io.FileIO],
) -> None:
    reader, writer = pipe
    threads = trio.to_thread.current_default_thread_limiter()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Output(writer.fileno()).write, b"x" * (1 << 20))
        while is_writable(writer):  # until the thread waits in the middle
            await trio.sleep(0.001)
        nursery.cancel_scope.cancel()
    later_read, later_write = os.pipe()
    with open(later_read, "rb") as later_reader, trio.fail_after(20):
        os.dup2(later_write, writer.fileno())
        os.close(later_write)
        reader.close()
        while threads.borrowed_tokens:  # until it has ended
            await trio.sleep(0.001)
        assert not select.select([later_reader], [], [], 0)[0]


async def test_a_pipe_that_takes_nothing_more_is_not_waited_for_in_place(pipe: tuple[io.FileIO, io.FileIO]) -> None:
    reader, writer = pipe
    os.set_blocking(writer.fileno(), False)
    while is_writable(writer):
        writer.write(b"x" * SMALL_BYTES)
    os.set_blocking(writer.fileno(), True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Output(writer.fileno()).write, b"small")
        await trio.testing.wait_all_tasks_blocked()
        reader.read(1 << 20)


@pytest.mark.parametrize("size", [1, 1 << 20])
async def test_a_reader_who_is_gone_is_told(pipe: tuple[io.FileIO, io.FileIO], size: int) -> None:
    reader, writer = pipe
    reader.close()
    with pytest.raises(OutputFailed) as failed:
        await Output(writer.fileno()).write(b"x" * size)
    assert failed.value.reader_gone


async def test_where_pipes_cannot_be_polled_a_thread_writes(
    pipe: tuple[io.FileIO, io.FileIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, writer = pipe

    def refuse(*_: object) -> None:
        raise OSError("not a socket")

    monkeypatch.setattr(select, "select", refuse)
    await Output(writer.fileno()).write(b"small")

    assert reader.read(100) == b"small"


# -- with a prefix


async def prefixed(*chunks: bytes, finished: bool = False) -> bytes:
    """Copy of these chunks of output."""
    read, write = os.pipe()
    os.set_blocking(read, False)
    with open(read, "rb", buffering=0) as reader, open(write, "wb", buffering=0) as writer:
        sending, receiving = trio.testing.memory_stream_one_way_pair()
        copy = PrefixedOutput(receiving, Output(writer.fileno()), b"t | ")
        for chunk in chunks:
            await sending.send_all(chunk)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(copy.run)
            await trio.testing.wait_all_tasks_blocked()
            if finished:
                copy.finish()
            else:
                await sending.aclose()
        return reader.read(1 << 20) or b""


@pytest.mark.parametrize(
    ("chunks", "copied"),
    [
        ([], b""),
        ([b"a\nb\n"], b"t | a\nt | b\n"),
        ([b"a", b"b\nc"], b"t | ab\nt | c\n"),
        ([b"\n"], b"t | \n"),
    ],
)
async def test_each_line_is_copied_with_the_prefix_and_the_last_one_gets_a_newline(
    chunks: list[bytes], copied: bytes
) -> None:
    assert await prefixed(*chunks) == copied


async def test_a_line_without_end_is_copied_in_parts() -> None:
    line = b"x" * (MAX_LINE_BYTES // 2 + 1)
    read, write = os.pipe()
    with open(read, "rb", buffering=0) as reader, open(write, "wb", buffering=0) as writer:
        sending, receiving = trio.testing.memory_stream_one_way_pair()
        copy = PrefixedOutput(receiving, Output(writer.fileno()), b"t | ")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(copy.run)
            for chunk in (line, line):
                await sending.send_all(chunk)
                await trio.testing.wait_all_tasks_blocked()
            copied = await trio.to_thread.run_sync(read_all, reader, 2 * len(line) + 5)
            await sending.aclose()
    assert copied == b"t | " + 2 * line + b"\n"


async def test_when_the_process_has_ended_nothing_more_is_waited_for() -> None:
    assert await prefixed(b"a\n", finished=True) == b"t | a\n"


async def test_what_a_pipe_still_holds_is_copied_after_the_end_of_the_process(
    pipe: tuple[io.FileIO, io.FileIO],
) -> None:
    reader, writer = pipe
    held, filled = os.pipe()
    os.set_blocking(held, False)
    os.write(filled, b"last words\n")
    async with trio.lowlevel.FdStream(held) as pipe_of_process:
        copy = PrefixedOutput(pipe_of_process, Output(writer.fileno()), b"t | ")

        copy.finish()
        await copy.run()

    os.close(filled)
    assert reader.read(100) == b"t | last words\n"


async def test_a_process_in_the_background_cannot_keep_the_copy_going() -> None:
    class Endless:
        """A pipe that a process fills faster than it is read."""

        def fileno(self) -> int:
            return zero

        async def receive_some(self, max_bytes: int | None = None) -> bytes:
            raise AssertionError("not after the end")

        async def aclose(self) -> None:
            pass

    zero = os.open("/dev/zero", os.O_RDONLY)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    copy = PrefixedOutput(cast(trio.abc.ReceiveStream, Endless()), Output(nowhere), b"")

    copy.finish()
    with trio.fail_after(GUARD_S):
        await copy.run()

    os.close(zero)
    os.close(nowhere)


async def test_output_that_nobody_reads_any_more_is_dropped(pipe: tuple[io.FileIO, io.FileIO]) -> None:
    reader, writer = pipe
    reader.close()
    sending, receiving = trio.testing.memory_stream_one_way_pair()
    await sending.send_all(b"a\n")
    await sending.aclose()

    await PrefixedOutput(receiving, Output(writer.fileno()), b"t | ").run()
