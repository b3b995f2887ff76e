"""Runs of routers that do not end when they should, or that raise what nobody expects."""

import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from hookbot.protocol.message import Message
from hookbot.routers.attempts import RouterLimits
from hookbot.routers.outbox import DraftCollector
from hookbot.routers.runs import MAX_HANGING, Crash, LeftThreads, Run
from hookbot.routers.threads import START_LIMIT_S
from support import GUARD_S
from support.clock import pass_time
from support.misbehaving_routers import Copy, Misbehaving

Wait = Callable[[], Awaitable[None]]


class Stuck:
    """Ways to wait that cannot be cancelled, until they are let go."""

    def __init__(self) -> None:
        self.gone_on = threading.Event()
        self._shielded = trio.Event()

    def let_go(self) -> None:
        self.gone_on.set()
        self._shielded.set()

    async def in_a_thread(self) -> None:
        await trio.to_thread.run_sync(self.gone_on.wait, GUARD_S)

    async def in_a_shield(self) -> None:
        with trio.CancelScope(shield=True):
            await self._shielded.wait()

    async def again_and_again(self) -> None:
        while not self._shielded.is_set():
            try:
                await trio.sleep(0.1)
            except trio.Cancelled:
                with trio.CancelScope(shield=True):
                    await trio.sleep(0.1)

    async def in_a_child(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.in_a_shield)


WAYS = ["in_a_thread", "in_a_shield", "again_and_again", "in_a_child"]


@pytest.mark.parametrize("way", WAYS)
async def test_a_message_whose_attempt_does_not_end_is_given_up_and_the_next_has_its_turn(
    hub: Any, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, way: str
) -> None:
    stuck = Stuck()

    async def wait(publish: DraftCollector) -> None:
        await getattr(stuck, way)()

    async with hub.run(bad=(lambda: Misbehaving(wait), RouterLimits(time_limit=7))) as routers:
        await hub.publish("in/1", b"bad")
        await hub.publish("in/1", b"good")
        [copy] = await hub.wait_for("copy")
        await wait_all_tasks_blocked()
        [state] = routers.snapshot()
        problem = routers.problem
        stuck.let_go()
        while routers.problem:
            await pass_time(1)
        [failed] = await hub.stored("hookbot/failed/bad")

    assert copy.body == b"good"
    assert failed.header("Hookbot-Failed-Error") == "TimeoutError: its time limit of 7 s for one message is over"
    assert (state["state"], state["abandoned"], state["hanging"], state["failed"]) == ("running", 1, 1, 1)
    assert problem == "a router was abandoned and has not ended yet"
    assert "router bad does not end when it is told to" in caplog.text


async def test_what_an_abandoned_attempt_publishes_later_is_refused(
    hub: Any, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    # On a busy machine, the slice is over before the publish, which then is cancelled.
    monkeypatch.setattr("hookbot.broker.time_slices.TIME_SLICE_S", GUARD_S)
    stuck = Stuck()
    refused = []

    async def publish_late(publish: DraftCollector) -> None:
        await stuck.in_a_shield()
        try:
            await publish("late", b"")
        except RuntimeError as error:
            refused.append(str(error))

    async with hub.run(bad=lambda: Misbehaving(publish_late)) as routers:
        await hub.publish("in/1", b"bad")
        await hub.wait_for("hookbot/failed/bad")
        stuck.let_go()
        while routers.problem:
            await pass_time(1)

    assert "published after route() had ended" in refused[0]
    assert await hub.stored("late") == []
    assert await hub.stored("copy") == []


async def test_a_router_that_takes_a_moment_to_end_is_not_abandoned(hub: Any, autojump_clock: MockClock) -> None:
    async def end_slowly(publish: DraftCollector) -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(0.4)

    async with hub.run(slow=Misbehaving(end_slowly)) as routers:
        await hub.publish("in/1", b"bad")
        await hub.wait_for("hookbot/failed/slow")
        [state] = routers.snapshot()

    assert (state["abandoned"], state["restarts"], state["failed"]) == (0, 0, 1)


async def test_a_router_with_many_abandoned_runs_is_stopped_until_one_of_them_ends(
    hub: Any, autojump_clock: MockClock
) -> None:
    stuck = Stuck()

    async def wait(publish: DraftCollector) -> None:
        await stuck.in_a_shield()

    async with hub.run(bad=(lambda: Misbehaving(wait), RouterLimits(time_limit=1))) as routers:
        for _ in range(MAX_HANGING + 1):
            await hub.publish("in/1", b"bad")
        await pass_time(1000)
        [stopped] = routers.snapshot()
        problem = routers.problem
        stuck.let_go()
        await hub.publish("in/1", b"good")
        await hub.wait_for("copy")
        [state] = routers.snapshot()

    assert (stopped["state"], stopped["hanging"]) == ("stopped", MAX_HANGING)
    assert problem == "a router is not running"
    assert (state["state"], state["hanging"]) == ("running", 0)


@pytest.mark.parametrize("limit", ["its own", "that of the router"])
async def test_threads_that_a_router_leaves_behind_are_counted_and_it_is_stopped_until_one_of_many_ends(
    hub: Any, limit: str
) -> None:
    gone_on = threading.Event()

    async def leave_a_thread(publish: DraftCollector) -> None:
        with trio.fail_after(0.01 if limit == "its own" else 2 * GUARD_S):
            await trio.to_thread.run_sync(gone_on.wait, GUARD_S, abandon_on_cancel=True)

    def state() -> dict[str, Any]:
        [state] = routers.snapshot()
        return state  # type: ignore[no-any-return]

    async with hub.run(bad=(lambda: Misbehaving(leave_a_thread), RouterLimits(time_limit=0.01))) as routers:
        for _ in range(MAX_HANGING + 1):
            await hub.publish("in/1", b"bad")
        await hub.publish("in/1", b"good")
        while state()["state"] != "stopped":
            await trio.sleep(0)
        stopped, problem = state(), routers.problem
        gone_on.set()
        [copy] = await hub.wait_for("copy")
        while routers.problem:
            await trio.sleep(0)
        after = state()

    assert (stopped["hanging"], stopped["abandoned"], stopped["failed"]) == (MAX_HANGING,) * 3
    assert problem == "a router is not running"
    assert copy.body == b"good"
    assert (after["state"], after["hanging"], after["restarts"]) == ("running", 0, 1)


async def test_a_thread_that_a_router_waits_for_in_vain_makes_the_hub_unready_and_does_not_crash_the_router(
    hub: Any,
) -> None:
    gone_on = threading.Event()

    async def leave_a_thread(publish: DraftCollector) -> None:
        await trio.to_thread.run_sync(gone_on.wait, GUARD_S, abandon_on_cancel=True)

    async with hub.run(bad=(lambda: Misbehaving(leave_a_thread), RouterLimits(time_limit=0.01))) as routers:
        await hub.publish("in/1", b"bad")
        await hub.wait_for("hookbot/failed/bad")
        [state] = routers.snapshot()
        problem = routers.problem
        gone_on.set()

    assert (state["state"], state["hanging"], state["restarts"]) == ("running", 1, 0)
    assert problem == "a router was abandoned and has not ended yet"


@pytest.mark.parametrize("step", ["__aenter__", "__aexit__"])
async def test_a_router_that_does_not_start_or_stop_is_started_anew(
    hub: Any, autojump_clock: MockClock, step: str
) -> None:
    stuck = Stuck()
    made = []

    class Entered(Copy):
        def __init__(self) -> None:
            made.append(self)
            self.first = len(made) == 1

        async def wait_in(self, here: str) -> None:
            if self.first and step == here:
                await stuck.in_a_thread()

        async def __aenter__(self) -> None:
            await self.wait_in("__aenter__")

        async def __aexit__(self, *failure: Any) -> None:
            await self.wait_in("__aexit__")

        async def route(self, message: Message, publish: DraftCollector) -> None:
            if self.first:
                raise SystemExit
            await publish("copy", message)

    async with hub.run(one=Entered) as routers:
        started = trio.current_time()
        await hub.publish("in/1", b"x")
        while routers.snapshot()[0]["restarts"] == 0:
            await pass_time(1)
        await hub.publish("in/1", b"y")
        await hub.wait_for("copy")
        [state] = routers.snapshot()
        assert START_LIMIT_S <= trio.current_time() - started < START_LIMIT_S + 5
        stuck.let_go()

    assert (len(made), state["abandoned"], state["restarts"]) == (2, 1, 1)


class Quiet(Exception):
    """An exception without a text, which is false."""

    def __str__(self) -> str:
        raise KeyboardInterrupt

    def __len__(self) -> int:
        return 0


def keep_a_cancellation() -> BaseException:
    """A `Cancelled`, which cannot be made otherwise."""
    kept: list[BaseException] = []

    async def cancelled() -> None:
        with trio.CancelScope() as scope:
            scope.cancel()
            try:
                await trio.sleep_forever()
            except trio.Cancelled as error:
                kept.append(error)
                raise

    trio.run(cancelled)
    return kept[0]


UNEXPECTED = {
    "SystemExit": SystemExit(1),
    "KeyboardInterrupt": KeyboardInterrupt(),
    "GeneratorExit": GeneratorExit(),
    "Cancelled": keep_a_cancellation(),
    "BaseException": BaseException("base"),
    "MemoryError": MemoryError(),
    "RecursionError": RecursionError("deep"),
    "Quiet": Quiet(),
    "ExceptionGroup": ExceptionGroup("some", [ValueError("a"), OSError("b")]),
    "BaseExceptionGroup": BaseExceptionGroup("some", [KeyboardInterrupt(), SystemExit()]),
    "group with a cancellation": BaseExceptionGroup("some", [keep_a_cancellation(), SystemExit()]),
}


@pytest.mark.parametrize("error", UNEXPECTED.values(), ids=UNEXPECTED)
@pytest.mark.parametrize("place", ["constructor", "__aenter__", "__aexit__", "route", "child"])
async def test_whatever_a_router_raises_ends_nothing_else(
    hub: Any, autojump_clock: MockClock, place: str, error: BaseException
) -> None:
    raised: list[int] = []

    class Raising(Copy):
        def __init__(self) -> None:
            self.raise_once("constructor")

        async def __aenter__(self) -> None:
            self.raise_once("__aenter__")

        async def __aexit__(self, *failure: Any) -> None:
            self.raise_once("__aexit__")

        async def route(self, message: Message, publish: DraftCollector) -> None:
            self.raise_once("route")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.child)
            if place == "__aexit__" and not raised:
                raise SystemExit
            await publish("copy", message)

        async def child(self) -> None:
            self.raise_once("child")

        def raise_once(self, here: str) -> None:
            if here == place and not raised:
                raised.append(1)
                raise error

    async with hub.run(bad=Raising, good=Copy()):
        await hub.publish("in/1", b"x")
        copies = await hub.wait_for("copy", 2)

    assert raised
    assert sorted(copy.hops for copy in copies) == [("bad",), ("good",)]


async def test_a_router_that_suppresses_its_own_end_is_started_again(
    hub: Any, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    class Suppressing(Misbehaving):
        def __init__(self) -> None:
            super().__init__(self.exit)

        async def exit(self, publish: DraftCollector) -> None:
            raise SystemExit

        async def __aenter__(self) -> None: ...

        async def __aexit__(self, *failure: Any) -> bool:
            return True

    async with hub.run(bad=Suppressing) as routers:
        await hub.publish("in/1", b"bad")
        await hub.publish("in/1", b"good")
        await hub.wait_for("copy")
        [state] = routers.snapshot()

    assert state["restarts"] == 4
    assert "its __aexit__ must not return true" in caplog.text


@pytest.mark.parametrize("way", WAYS)
async def test_a_hub_that_ends_leaves_a_router_behind_that_does_not(
    hub: Any, autojump_clock: MockClock, way: str
) -> None:
    stuck = Stuck()

    async def wait(publish: DraftCollector) -> None:
        await getattr(stuck, way)()

    async with hub.run(bad=Misbehaving(wait)) as routers:
        await hub.publish("in/1", b"bad")
        await wait_all_tasks_blocked()
    [state] = routers.snapshot()
    stuck.let_go()

    assert (state["abandoned"], state["failed"], state["retried"]) == (1, 0, 0)
    assert await hub.stored("hookbot/") == []


async def test_a_run_that_was_abandoned_goes_no_further() -> None:
    stuck = Stuck()
    run = Run(LeftThreads())

    async def wait(run: Run) -> None:
        await stuck.in_a_shield()
        run.check()

    run.start("x", wait)
    await wait_all_tasks_blocked()
    await run.end(0)
    abandoned = run.abandoned
    stuck.let_go()
    await run.ended.wait()

    assert abandoned
    assert isinstance(run.crash, Crash)


async def test_a_thread_that_another_router_waits_for_is_not_left_behind(hub: Any) -> None:
    gone_on, begun, working = threading.Event(), trio.Event(), trio.Event()

    def work_in_thread() -> None:
        trio.from_thread.run_sync(working.set)
        gone_on.wait(GUARD_S)

    async def work(publish: DraftCollector) -> None:
        await begun.wait()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, work_in_thread)

    async def time_out(publish: DraftCollector) -> None:
        begun.set()
        await working.wait()
        with trio.fail_after(0.01):
            await trio.sleep_forever()

    async with hub.run(good=lambda: Misbehaving(work), bad=lambda: Misbehaving(time_out)) as routers:
        await hub.publish("in/1", b"bad")
        while not any(state["error"] for state in routers.snapshot()):
            await trio.sleep(0)
        problem, states = routers.problem, routers.snapshot()
        gone_on.set()

    assert problem == ""
    assert [state["abandoned"] for state in states] == [0, 0]
