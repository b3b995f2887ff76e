"""Writing to where others read, or do not."""

import io
import os
import select
from collections.abc import Iterator

import pytest
import trio

from hookbot.delivery.output import SMALL_BYTES, Output


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
    with pytest.raises(BrokenPipeError):
        await Output(writer.fileno()).write(b"x" * size)
