"""Large messages: computed in a few threads, which hold up neither the hub nor the end of a time limit."""

import threading

import pytest
import trio

from hookbot.protocol.message import Message
from hookbot.routers.large_messages import SMALL_BYTES, THREADS, compute

SMALL = Message("t", b"x" * (SMALL_BYTES // 2))
LARGE = Message("t", b"x" * SMALL_BYTES)


@pytest.mark.parametrize(("message", "in_loop"), [(SMALL, True), (LARGE, False)])
async def test_only_a_large_message_takes_a_thread(message: Message, in_loop: bool) -> None:
    assert await compute(lambda seen: (seen, trio.lowlevel.in_trio_task()), message) == (message, in_loop)


async def test_an_error_is_passed_on() -> None:
    with pytest.raises(ZeroDivisionError):
        await compute(lambda message: 1 // 0, LARGE)


async def test_a_cancelled_computation_is_abandoned_and_keeps_its_thread_until_it_ends() -> None:
    ends, started = threading.Event(), threading.Semaphore(0)

    def work(message: Message) -> None:
        started.release()
        ends.wait()

    async with trio.open_nursery() as nursery:
        for _ in range(THREADS):
            nursery.start_soon(compute, work, LARGE)
        for _ in range(THREADS):
            await trio.to_thread.run_sync(started.acquire)
        nursery.cancel_scope.cancel()

    with trio.move_on_after(0) as scope:
        await compute(lambda message: message.body, LARGE)
    assert scope.cancelled_caught
    ends.set()
    assert await compute(lambda message: "done", LARGE) == "done"
