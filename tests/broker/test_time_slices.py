"""Time slices of tasks that wait for nothing."""

from collections.abc import Callable

import pytest
import trio
from trio.testing import assert_checkpoints, assert_no_checkpoints

from hookbot.broker.time_slices import Line, TimeSlice


@pytest.fixture
def end_slices(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Function that ends all slices that have begun."""
    now = [0.0]
    monkeypatch.setattr("hookbot.broker.time_slices.perf_counter", lambda: now[0])

    def end() -> None:
        now[0] += 1

    return end


async def test_a_task_yields_when_its_slice_is_over_and_then_has_a_new_one(end_slices: Callable[[], None]) -> None:
    mine = TimeSlice()
    with assert_no_checkpoints():
        await mine.yield_if_over()
    end_slices()
    with assert_checkpoints():
        await mine.yield_if_over()
    with assert_no_checkpoints():
        await mine.yield_if_over()


async def test_a_slice_begins_anew_after_a_pause(end_slices: Callable[[], None]) -> None:
    mine = TimeSlice()
    end_slices()
    mine.begin()
    with assert_no_checkpoints():
        await mine.yield_if_over()


async def test_others_see_that_a_task_stands_in_line(end_slices: Callable[[], None]) -> None:
    line = Line()
    mine = TimeSlice(line)
    end_slices()

    yielding = mine.yield_if_over()
    # Up to its checkpoint, where others run.
    yielding.send(None)
    assert line.length == 1

    yielding.close()
    assert line.length == 0


async def test_a_cancelled_task_leaves_the_line() -> None:
    line = Line()
    with trio.CancelScope() as scope:
        scope.cancel()
        await line.wait()

    assert line.length == 0


async def test_whoever_lets_others_pass_goes_on_when_nobody_is_in_line() -> None:
    line = Line()
    with assert_no_checkpoints():
        await line.let_pass(100)
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(line.wait)
        await trio.lowlevel.checkpoint()
        await line.let_pass(100)

    assert line.length == 0


async def test_whoever_lets_others_pass_goes_on_after_the_time_that_it_has_taken(
    end_slices: Callable[[], None],
) -> None:
    line = Line()
    line.length = 1
    with assert_no_checkpoints():
        await line.let_pass(0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(line.let_pass, 1.5)
        for _ in range(3):
            await trio.lowlevel.checkpoint()
            end_slices()

    assert line.length == 1
