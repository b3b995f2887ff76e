"""Pauses: a task is held up where it asks, and only while there is one."""

from collections.abc import AsyncIterator

import trio
from trio.testing import wait_all_tasks_blocked

from hookbot.delivery.pause import Pause


async def test_without_a_pause_nobody_waits() -> None:
    with trio.fail_after(0):
        await Pause().over()


async def test_a_pause_holds_a_task_up_until_it_ends(nursery: trio.Nursery, autojump_clock: trio.abc.Clock) -> None:
    pause, passed = Pause(), trio.Event()

    async def work() -> None:
        await pause.over()
        passed.set()

    pause.begin()
    pause.begin()
    nursery.start_soon(work)
    await wait_all_tasks_blocked()
    assert pause.is_on
    assert not passed.is_set()

    pause.end()
    await passed.wait()
    assert not pause.is_on


async def test_during_a_pause_no_item_is_asked_for(nursery: trio.Nursery) -> None:
    pause, got = Pause(), list[int | None]()

    async def items() -> AsyncIterator[int]:
        yield 1

    async def take() -> None:
        source = items()
        got.append(await pause.next_of(source))
        got.append(await pause.next_of(source))

    pause.begin()
    nursery.start_soon(take)
    await wait_all_tasks_blocked()
    assert got == []

    pause.end()
    await wait_all_tasks_blocked()
    assert got == [1, None]


async def test_who_wakes_into_the_next_pause_waits_on(nursery: trio.Nursery) -> None:
    pause, passed = Pause(), trio.Event()

    async def work() -> None:
        await pause.over()
        passed.set()

    pause.begin()
    nursery.start_soon(work)
    await wait_all_tasks_blocked()
    pause.end()
    pause.begin()
    await wait_all_tasks_blocked()

    assert not passed.is_set()
    pause.end()
