"""Functions with a callback, called from a task."""

from functools import partial

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from hookbot.callbacks import Callback, result_of


async def test_a_result_that_comes_at_once_or_later_is_returned() -> None:
    def start_now(done: Callback[int]) -> None:
        done(1)

    def start_later(done: Callback[int]) -> None:
        trio.lowlevel.current_trio_token().run_sync_soon(done, 2)

    assert await result_of(start_now) == 1
    assert await result_of(start_later) == 2


async def test_an_error_that_is_passed_on_is_raised() -> None:
    def fail(done: Callback[int]) -> None:
        done(ZeroDivisionError())

    with pytest.raises(ZeroDivisionError):
        await result_of(fail)


async def test_who_waits_learns_the_result_however_often_it_is_cancelled(nursery: trio.Nursery) -> None:
    waiting: list[Callback[str]] = []
    results: list[str] = []

    async def wait(scope: trio.CancelScope) -> None:
        with scope:
            results.append(await result_of(waiting.append))

    scope = trio.CancelScope()
    nursery.start_soon(partial(wait, scope))
    await wait_all_tasks_blocked()
    scope.cancel()
    await wait_all_tasks_blocked()
    waiting[0]("stored")
    await wait_all_tasks_blocked()

    assert results == ["stored"]
