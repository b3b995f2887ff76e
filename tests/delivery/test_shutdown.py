"""Shutdown of a command: gently at the first signal, at once at the second."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from hookbot.delivery.shutdown import Stop, run_until_stopped


def send(name: signal.Signals) -> None:
    os.kill(os.getpid(), name)


def sequence(*items: int) -> trio.MemoryReceiveChannel[int]:
    """Some items, and then their end."""
    put, received = trio.open_memory_channel[int](len(items))
    for item in items:
        put.send_nowait(item)
    put.close()
    return received


@contextmanager
def ignored(name: signal.Signals) -> Iterator[None]:
    """Ignore a signal, as nohup ignores SIGHUP before it starts a program."""
    before = signal.signal(name, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(name, before)


# -- a whole program


def test_a_program_that_nobody_stops_came_to_its_own_end() -> None:
    async def main(stop: Stop) -> None:
        assert not stop.asked

    assert run_until_stopped(main)


@pytest.mark.parametrize("name", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_lets_the_work_in_hand_be_finished(
    name: signal.Signals, caplog: pytest.LogCaptureFixture
) -> None:
    finished = False

    async def main(stop: Stop) -> None:
        nonlocal finished
        told = trio.Event()
        with stop.gently(told.set):
            send(name)
            await told.wait()
        finished = True

    assert not run_until_stopped(main)
    assert finished
    assert [record.message for record in caplog.records] == [
        "stopping once what has begun is finished; a second Ctrl-C or SIGTERM stops at once"
    ]


def test_the_second_signal_ends_the_work_in_hand() -> None:
    cancelled = False

    async def main(stop: Stop) -> None:
        nonlocal cancelled
        told = trio.Event()
        with stop.gently(told.set):
            send(signal.SIGINT)
            await told.wait()
            send(signal.SIGTERM)
            try:
                await trio.sleep_forever()
            finally:
                cancelled = True

    assert not run_until_stopped(main)
    assert cancelled


def test_without_work_in_hand_the_first_signal_ends_the_program() -> None:
    async def main(stop: Stop) -> None:
        send(signal.SIGINT)
        await trio.sleep_forever()

    assert not run_until_stopped(main)


def test_a_signal_that_the_parent_ignores_stays_ignored() -> None:
    async def main(stop: Stop) -> None:
        send(signal.SIGHUP)
        await wait_all_tasks_blocked()
        assert not stop.asked

    with ignored(signal.SIGHUP):
        assert run_until_stopped(main)
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN


def test_what_the_program_raises_comes_out_as_it_is() -> None:
    async def main(stop: Stop) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_until_stopped(main)


# -- the request to stop


@pytest.fixture
def stop() -> Stop:
    return Stop(trio.CancelScope())


async def test_the_items_are_handed_out_one_by_one_and_then_there_is_none(stop: Stop) -> None:
    items = sequence(1, 2)

    assert [await stop.next_of(items) for _ in range(3)] == [1, 2, None]
    assert not stop.asked


async def test_a_request_to_stop_ends_the_wait_for_the_next_item(stop: Stop) -> None:
    received: list[int | None] = []
    _open, items = trio.open_memory_channel[int](0)

    async def receive() -> None:
        received.append(await stop.next_of(items))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        await wait_all_tasks_blocked()
        stop.ask()

    assert received == [None]


async def test_after_a_request_to_stop_no_item_is_taken(stop: Stop) -> None:
    items = sequence(1)
    stop.ask()

    assert await stop.next_of(items) is None
    assert await anext(items) == 1


async def test_only_the_innermost_block_hears_the_first_request(stop: Stop) -> None:
    told: list[str] = []

    with stop.gently(lambda: told.append("outer")):
        with stop.gently(lambda: told.append("inner")):
            pass
        stop.ask()

    assert told == ["outer"]


async def test_the_second_request_passes_over_the_block_and_cancels_everything() -> None:
    told: list[str] = []
    with trio.CancelScope() as everything:
        stop = Stop(everything)
        with stop.gently(lambda: told.append("gently")):
            stop.ask()
            assert not everything.cancel_called
            stop.ask()

    assert told == ["gently"]
    assert everything.cancel_called
