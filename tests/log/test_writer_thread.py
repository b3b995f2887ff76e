"""The thread that writes to the log."""

import threading
from collections.abc import AsyncIterator
from functools import partial

import pytest
import trio

from hookbot.callbacks import result_of
from hookbot.log.writer_thread import WriterThread


@pytest.fixture
async def thread() -> AsyncIterator[WriterThread]:
    thread = WriterThread(trio.lowlevel.current_trio_token())
    yield thread
    thread.stop()


async def test_all_work_is_done_in_one_thread_and_its_result_comes_to_the_loop(thread: WriterThread) -> None:
    idents = [await result_of(partial(thread.start, threading.get_ident)) for _ in range(3)]
    assert len({*idents}) == 1
    assert threading.get_ident() not in idents


async def test_the_results_come_in_the_order_of_the_work(thread: WriterThread) -> None:
    results: list[int | Exception] = []
    for number in range(100):
        thread.start(partial(int, number), results.append)
    await result_of(partial(thread.start, lambda: None))
    assert results == list(range(100))


async def test_work_that_fails_raises_its_error_for_who_waits_and_the_next_is_done(thread: WriterThread) -> None:
    with pytest.raises(ZeroDivisionError):
        await result_of(partial(thread.start, lambda: 1 // 0))
    assert await result_of(partial(thread.start, lambda: 1)) == 1


async def test_what_is_queued_when_it_is_stopped_is_still_done() -> None:
    done: list[int] = []
    thread = WriterThread(trio.lowlevel.current_trio_token())
    for number in range(10):
        thread.start(partial(done.append, number), lambda _: None)
    thread.stop()
    assert done == [*range(10)]


def test_a_result_for_a_loop_that_has_ended_is_dropped() -> None:
    async def open_and_leave() -> WriterThread:
        return WriterThread(trio.lowlevel.current_trio_token())

    thread = trio.run(open_and_leave)
    done: list[int] = []
    thread.start(partial(done.append, 1), lambda _: pytest.fail("called after the end"))
    thread.stop()
    assert done == [1]
