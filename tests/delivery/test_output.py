"""Writing to where others read, or do not."""

import os
import select

import pytest
import trio

from hookbot.delivery.output import SMALL_BYTES, Output


@pytest.fixture
def pipe():
    read, write = os.pipe()
    yield read, write
    for descriptor in (read, write):
        try:
            os.close(descriptor)
        except OSError:
            continue


def read_all(read, size):
    data = b""
    while len(data) < size:
        data += os.read(read, 1 << 16)
    return data


async def test_what_is_written_arrives_small_and_large_in_order(pipe):
    read, write = pipe
    pieces = [b"a", b"b" * (1 << 20), b"c" * SMALL_BYTES]
    output = Output(write)
    async with trio.open_nursery() as nursery:

        async def write_all():
            for piece in pieces:
                await output.write(piece)

        nursery.start_soon(write_all)
        assert await trio.to_thread.run_sync(read_all, read, sum(map(len, pieces))) == b"".join(pieces)


async def test_what_several_write_does_not_mix(pipe):
    read, write = pipe
    output = Output(write)
    async with trio.open_nursery() as nursery:
        for letter in (b"a", b"b", b"c"):
            nursery.start_soon(output.write, letter * 200_000)
        data = await trio.to_thread.run_sync(read_all, read, 600_000)
    assert {data[:200_000], data[200_000:400_000], data[400_000:]} == {b * 200_000 for b in (b"a", b"b", b"c")}


async def test_a_slow_reader_holds_up_nothing_else(pipe):
    read, write = pipe
    lock = trio.Lock()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Output(write, lock).write, b"x" * (1 << 20))
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(Output(write, lock).write, b"small")
        for _ in range(10):
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
        os.close(read)  # so that the thread comes to an end


async def test_a_pipe_that_takes_nothing_more_is_not_waited_for_in_place(pipe):
    read, write = pipe
    os.set_blocking(write, False)
    while select.select([], [write], [], 0)[1]:
        os.write(write, b"x" * SMALL_BYTES)
    os.set_blocking(write, True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Output(write).write, b"small")
        await trio.testing.wait_all_tasks_blocked()
        os.read(read, 1 << 20)


@pytest.mark.parametrize("size", [1, 1 << 20])
async def test_a_reader_who_is_gone_is_told(pipe, size):
    read, write = pipe
    os.close(read)
    with pytest.raises(BrokenPipeError):
        await Output(write).write(b"x" * size)
