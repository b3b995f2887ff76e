"""One router in a hub: restarted when it crashes, resumed where it was."""

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from hookbot.errors import Unavailable
from hookbot.log.contract import Page
from hookbot.log.duties import Held
from hookbot.log.memory import MemoryLog
from hookbot.log.retention import Retention
from hookbot.protocol.message import Message
from hookbot.protocol.topics import TopicFilter
from hookbot.routers.attempts import RouterLimits
from hookbot.routers.outbox import DraftCollector
from support.clock import pass_time
from support.duty_hubs import DutyHub, Family
from support.misbehaving_routers import Copy, Misbehaving, hang


async def test_a_router_that_publishes_to_its_own_input_never_sees_its_own(hub: Any, autojump_clock: MockClock) -> None:
    class Circle(Copy):
        async def route(self, message: Message, publish: DraftCollector) -> None:
            await publish(message.topic, message)

    async with hub.run(one=Circle(), two=Circle()):
        await hub.publish("in/1", b"x")
        await hub.wait_for("in/1", 5)
        await pass_time(1000)

    hops = [message.hops for message in await hub.stored("")]
    assert sorted(hops) == [(), ("one",), ("one", "two"), ("two",), ("two", "one")]


async def test_a_router_that_cannot_be_made_is_tried_again_until_it_can(
    hub: Any, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    attempts = []

    def make() -> Copy:
        attempts.append(1)
        if len(attempts) < 4:
            raise ImportError("not yet")
        return Copy()

    async with hub.run(late=make, good=Copy()) as routers:
        assert routers.problem == "a router is not running"
        await hub.publish("in/1", b"x")
        copies = await hub.wait_for("copy", 2)
        assert routers.problem == ""

    assert [copy.hops for copy in copies] == [("good",), ("late",)]
    assert "router late crashed" in caplog.text
    assert "ImportError: not yet" in caplog.text


async def test_a_router_that_is_a_context_manager_is_entered_again_after_a_crash_of_its_own_task(
    hub: Any, autojump_clock: MockClock
) -> None:
    entered = []

    class WithTask(Copy):
        async def __aenter__(self) -> Copy:
            entered.append(1)
            self.manager = trio.open_nursery()
            self.nursery = await self.manager.__aenter__()
            return self

        async def __aexit__(self, *failure: Any) -> Any:
            self.nursery.cancel_scope.cancel()
            return await self.manager.__aexit__(*failure)

        async def route(self, message: Message, publish: DraftCollector) -> None:
            if len(entered) == 1:
                self.nursery.start_soon(self.fail)
                await trio.sleep_forever()
            await publish("copy", message)

        async def fail(self) -> None:
            raise OSError("in the background")

    async with hub.run(task=WithTask) as routers:
        await hub.publish("in/1", b"x")
        await hub.wait_for("copy")
        [state] = routers.snapshot()

    assert len(entered) == 2
    assert state["restarts"] == 1


async def test_a_router_that_fell_behind_retention_says_so_and_goes_on(
    hub: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with hub.run(copy=Copy()):
        pass
    for number in range(10):
        await hub.publish("in/1", b"%d" % number)
    while await hub.broker.log.trim(Retention(max_count=3), now_us=0):
        pass
    async with hub.run(copy=Copy()) as routers:
        copies = await hub.wait_for("copy", 3)
        [state] = routers.snapshot()

    assert [copy.body for copy in copies] == [b"7", b"8", b"9"]
    assert state["gaps"] == 1
    assert "router copy missed the messages before" in caplog.text


async def test_the_position_of_a_quiet_router_moves_on_so_that_retention_does_not_overtake_it(
    hub: Any, autojump_clock: MockClock
) -> None:
    async with hub.run(copy=Copy()) as routers:
        for _ in range(5):
            await hub.publish("elsewhere", b"x")
        await wait_all_tasks_blocked()
        [state] = routers.snapshot()
        await pass_time(1000)
        [cursor] = await hub.broker.log.cursors("router/")

    assert state["lag"] == 0
    assert cursor.position == 5


async def test_lag_is_what_a_router_has_not_looked_at_yet(hub: Any, autojump_clock: MockClock) -> None:
    async with hub.run(bad=(Misbehaving(hang), RouterLimits(time_limit=30))) as routers:
        await hub.publish("in/1", b"bad")
        for _ in range(4):
            await hub.publish("in/1", b"good")
        await pass_time(1)
        [behind] = routers.snapshot()
        await hub.wait_for("copy", 4)
        await pass_time(1)
        [after] = routers.snapshot()

    assert (behind["lag"], after["lag"]) == (5, 0)


async def test_delays_between_restarts_are_up_to_half_a_second_first_and_double_up_to_a_minute(
    hub: Any, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    attempts = []

    def make() -> Copy:
        attempts.append(1)
        if len(attempts) <= 12:
            raise ImportError("not yet")
        return Copy()

    async with hub.run(late=make):
        await hub.publish("in/1", b"x")
        await hub.wait_for("copy")

    delays = [float(delay) for delay in re.findall(r"router late crashed, restarting in ([\d.]+) s", caplog.text)]
    bounds = [min(0.5 * 2**failures, 60) for failures in range(len(delays))]
    assert len(delays) > 8
    assert all(0.2 <= delay <= bound for delay, bound in zip(delays, bounds, strict=True))


# -- one of several hubs


@pytest.fixture
async def there(family: Family) -> AsyncIterator[DutyHub]:
    """Another hub of the family."""
    async with family.hub("there", url="http://there") as there:
        yield there


@pytest.fixture
async def here(family: Family, log: MemoryLog) -> AsyncIterator[DutyHub]:
    """The hub that the routers of the tests run in."""
    async with family.hub("here") as here:
        log.duties = here.duties
        yield here


async def claimed(hub: DutyHub) -> Held:
    """The duty of the router, taken over by a hub."""
    held = await hub.duties.claim("router/copy", takeover=True)
    assert isinstance(held, Held)
    return held


async def all_claims_are_answered(hub: DutyHub) -> None:
    await wait_all_tasks_blocked()
    await hub.duties.claim("behind them")
    await wait_all_tasks_blocked()


async def test_a_router_that_another_hub_runs_is_on_standby(hub: Any, here: DutyHub, there: DutyHub) -> None:
    await claimed(there)

    async with hub.run(copy=Copy()) as routers:
        await hub.publish("in/1")
        await all_claims_are_answered(here)
        [state] = routers.snapshot()
        problem = routers.problem

    assert (state["state"], state["holder"], state["lag"]) == ("standby", "http://there", 0)
    assert problem == ""
    assert await hub.stored("copy") == []


async def test_a_router_starts_where_the_hub_that_ran_it_has_stopped(hub: Any, here: DutyHub, there: DutyHub) -> None:
    held = await claimed(there)
    async with hub.run(copy=Copy()) as routers:
        await all_claims_are_answered(here)
        routed = await hub.publish("in/1", b"routed there")
        await hub.broker.commit([], cursors={"router/copy": routed.position})
        await hub.publish("in/1", b"not routed yet")

        await there.duties.give_up(held)
        [copy] = await hub.wait_for("copy")
        [state] = routers.snapshot()

    assert copy.body == b"not routed yet"
    assert (state["state"], state["holder"]) == ("running", "")
    assert len(await hub.stored("copy")) == 1


async def test_a_router_ends_when_another_hub_takes_it_over(hub: Any, here: DutyHub, there: DutyHub) -> None:
    async with hub.run(copy=Copy()) as routers:
        await hub.publish("in/1", b"routed here")
        await hub.wait_for("copy")

        held = await claimed(there)
        while routers.snapshot()[0]["state"] != "standby":
            await all_claims_are_answered(here)
        routed = await hub.publish("in/1", b"routed there")
        await hub.broker.commit([], cursors={"router/copy": routed.position})
        await there.duties.give_up(held)
        await hub.publish("in/1", b"routed here again")
        copies = await hub.wait_for("copy", 2)

    assert [copy.body for copy in copies] == [b"routed here", b"routed here again"]


async def test_a_hub_that_leaves_lets_another_one_run_its_routers_at_once(
    hub: Any, here: DutyHub, there: DutyHub
) -> None:
    async with hub.run(copy=Copy()):
        await hub.publish("in/1")
        await hub.wait_for("copy")
        changed = there.duties.changed
    await changed.wait()

    assert isinstance(await there.duties.claim("router/copy"), Held)


async def test_a_router_waits_for_a_log_that_cannot_be_read(
    hub: Any,
    log: MemoryLog,
    autojump_clock: MockClock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with hub.run(copy=Copy()):
        pass
    await hub.publish("in/1", b"x")
    read, failures = log.read, ["the database is away"] * 3

    async def read_later(wanted: TopicFilter, **how: Any) -> Page:
        if failures and wanted.matches("in/1"):
            await trio.lowlevel.checkpoint()
            raise Unavailable(failures.pop())
        return await read(wanted, **how)

    monkeypatch.setattr(log, "read", read_later)
    async with hub.run(copy=Copy()) as routers:
        await hub.wait_for("copy")
        [state] = routers.snapshot()

    assert (state["state"], state["restarts"]) == ("running", 0)
    assert caplog.text.count("router copy: nothing to read, trying again") == 3
