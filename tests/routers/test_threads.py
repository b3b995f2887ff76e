"""Third-party code in a thread: it may take long, never end, and raise anything."""

import os
import threading

import pytest
import trio
from trio.testing import MockClock

from hookbot.routers.threads import START_LIMIT_S, contained, exit_as_error, run_in_thread, run_within_limit
from support import GUARD_S


def fail(error: BaseException) -> None:
    raise error


async def test_it_runs_in_another_thread_and_its_result_or_error_arrives() -> None:
    assert await run_in_thread(threading.get_ident) != threading.get_ident()
    with pytest.raises(KeyError):
        await run_in_thread(lambda: fail(KeyError("x")))


@pytest.mark.parametrize("error", [SystemExit(2), KeyboardInterrupt(), GeneratorExit()])
def test_what_would_end_this_process_is_an_ordinary_error(error: BaseException) -> None:
    with pytest.raises(RuntimeError, match=f"it raised {type(error).__name__}"):
        contained(lambda: fail(error))


async def test_a_thread_that_does_not_end_in_time_is_left_behind(autojump_clock: MockClock) -> None:
    gone_on = threading.Event()

    with pytest.raises(TimeoutError, match="it is not there after 30 s"):
        await run_within_limit(lambda: gone_on.wait(GUARD_S))

    assert trio.current_time() >= START_LIMIT_S
    gone_on.set()


async def test_one_that_is_to_be_waited_for_holds_up_its_task_only(autojump_clock: MockClock) -> None:
    gone_on = threading.Event()
    with trio.move_on_after(1) as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run_in_thread, lambda: gone_on.wait(GUARD_S))
            await trio.sleep(0.5)
            gone_on.set()

    assert not scope.cancelled_caught


def test_where_nothing_else_runs_even_the_end_of_the_process_is_an_error() -> None:
    before = os._exit
    with exit_as_error(), pytest.raises(RuntimeError, match="it raised SystemExit: 0"):
        contained(lambda: os._exit(0))
    assert os._exit is before


def test_what_it_forks_may_end_as_it_likes() -> None:
    with exit_as_error():
        child = os.fork()
        if not child:
            os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
