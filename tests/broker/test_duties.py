"""Work for a duty: of the only hub of a log, and of two hubs that share a PostgreSQL."""

from functools import partial

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from hookbot.broker.broker import open_broker
from hookbot.broker.duties import while_held
from hookbot.errors import Unavailable
from hookbot.log.duties import Held, Holder, SoleDuties
from hookbot.log.memory import MemoryLog
from support.duty_hubs import Family


class Work:
    """Work that goes on until it is cancelled, and may fail first."""

    def __init__(self, *errors: Exception) -> None:
        self.began: list[Held] = []
        self.started = trio.Event()
        self.ended = trio.Event()
        self._errors = list(errors)

    async def __call__(self, held: Held) -> None:
        self.began.append(held)
        if self._errors:
            raise self._errors.pop()
        self.started.set()
        try:
            await trio.sleep_forever()
        finally:
            self.ended.set()


async def test_the_only_hub_begins_at_once(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    work, began = Work(), trio.current_time()

    nursery.start_soon(while_held, SoleDuties(), "trim", work)
    await work.started.wait()

    assert trio.current_time() == began


async def test_a_duty_is_given_up_when_its_work_is_cancelled() -> None:
    work = Work()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(while_held, SoleDuties(), "trim", work)
        await work.started.wait()
        nursery.cancel_scope.cancel()

    assert work.ended.is_set()
    assert work.began[0].lost.is_set()


async def test_work_that_is_unavailable_begins_again(
    autojump_clock: MockClock, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    work = Work(Unavailable("no log"), Unavailable("no log"))

    nursery.start_soon(while_held, SoleDuties(), "router/a", work)
    await work.started.wait()

    assert [held.lost.is_set() for held in work.began] == [True, True, False]
    assert "router/a: ended, trying again: no log" in caplog.text


async def test_work_that_returns_begins_again(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    count = 0

    async def work(held: Held) -> None:
        nonlocal count
        count += 1
        if count == 3:
            done.set()

    done = trio.Event()
    nursery.start_soon(while_held, SoleDuties(), "router/a", work)

    await done.wait()


async def test_another_error_ends_all() -> None:
    with pytest.raises(ValueError, match="a bug"):
        await while_held(SoleDuties(), "trim", Work(ValueError("a bug")))


async def test_a_claim_that_is_unavailable_is_tried_again(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    class LateDuties(SoleDuties):
        failures = 2

        async def claim(self, name: str, *, takeover: bool = False) -> Held | Holder:
            if self.failures:
                self.failures -= 1
                raise Unavailable("no server")
            return await super().claim(name, takeover=takeover)

    work = Work()
    nursery.start_soon(while_held, LateDuties(), "trim", work)

    await work.started.wait()


async def test_a_hub_that_waits_begins_when_the_other_one_leaves(family: Family, nursery: trio.Nursery) -> None:
    here, there, holders = Work(), Work(), list[Holder]()
    told = trio.Event()

    def waiting(holder: Holder) -> None:
        holders.append(holder)
        told.set()

    async with family.hub("there", url="http://there") as second:
        async with family.hub("here", url="http://here") as first:
            async with trio.open_nursery() as running:
                running.start_soon(while_held, first.duties, "trim", here)
                await here.started.wait()
                nursery.start_soon(partial(while_held, second.duties, "trim", there, waiting=waiting))
                await told.wait()
                assert not there.began
                running.cancel_scope.cancel()
            await there.started.wait()
        nursery.cancel_scope.cancel()

    assert here.ended.is_set()
    assert holders[0].url == "http://here"


async def test_work_ends_when_another_hub_takes_the_duty_over(family: Family, nursery: trio.Nursery) -> None:
    work = Work()
    async with family.hub("here") as here, family.hub("there") as there:
        nursery.start_soon(while_held, here.duties, "trim", work)
        await work.started.wait()

        taken = await there.duties.claim("trim", takeover=True)
        await work.ended.wait()

        assert isinstance(taken, Held)
        assert not taken.lost.is_set()
        nursery.cancel_scope.cancel()


async def test_a_hub_takes_over_from_one_that_has_died(family: Family, nursery: trio.Nursery) -> None:
    work, told = Work(), trio.Event()
    async with family.hub("here") as here, family.hub("there") as there:
        await there.duties.claim("trim")
        nursery.start_soon(partial(while_held, here.duties, "trim", work, waiting=lambda holder: told.set()))
        await told.wait()

        there.die()
        family.end_all()
        here.duties.look()
        await work.started.wait()
        nursery.cancel_scope.cancel()


async def test_a_broker_holds_the_duty_of_retention_until_it_ends(family: Family) -> None:
    log = MemoryLog()
    async with family.hub("here") as here, family.hub("there") as there:
        log.duties = here.duties
        async with open_broker(log):
            await wait_all_tasks_blocked()
            await here.duties.claim("behind it")
            assert here.duties.find("trim")
            changed = there.duties.changed

        await changed.wait()
        assert not here.duties.find("trim")
        assert isinstance(await there.duties.claim("trim"), Held)
