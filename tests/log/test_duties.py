"""The contract of duties: for the only hub of a log, and for one of a family that shares a PostgreSQL."""

from collections.abc import AsyncIterator

import pytest
import trio

from hookbot.log.duties import Duties, Held, SoleDuties
from support.duty_hubs import Family


@pytest.fixture(params=["sole", "postgres"])
async def duties(request: pytest.FixtureRequest) -> AsyncIterator[Duties]:
    if request.param == "sole":
        yield SoleDuties()
    else:
        family: Family = request.getfixturevalue("family")
        async with family.hub() as hub:
            yield hub.duties


async def claimed(duties: Duties, name: str) -> Held:
    held = await duties.claim(name)
    assert isinstance(held, Held)
    return held


async def test_a_free_duty_is_held_until_it_is_given_up(duties: Duties) -> None:
    held = await claimed(duties, "trim")

    assert held.name == "trim"
    assert duties.find("trim")
    assert not held.lost.is_set()

    await duties.give_up(held)
    assert held.lost.is_set()


async def test_a_duty_that_was_given_up_is_claimed_again(duties: Duties) -> None:
    first = await claimed(duties, "router/github")
    await duties.give_up(first)

    second = await claimed(duties, "router/github")

    assert not second.lost.is_set()
    assert second.fence >= first.fence


async def test_a_duty_is_given_up_while_its_holder_is_cancelled(duties: Duties) -> None:
    with trio.CancelScope() as scope:
        held = await claimed(duties, "trim")
        scope.cancel()
        try:
            await trio.sleep_forever()
        finally:
            await duties.give_up(held)

    assert held.lost.is_set()


async def test_work_for_a_duty_ends_when_it_is_lost() -> None:
    held = Held("trim", 1)

    with held.scope() as scope:
        held.lose()
        await trio.sleep_forever()

    assert scope.cancelled_caught


async def test_work_for_a_duty_that_was_lost_ends_at_once() -> None:
    held = Held("trim", 1)
    held.lose()

    with held.scope() as scope:
        await trio.sleep_forever()

    assert scope.cancelled_caught


async def test_work_for_a_duty_that_is_not_lost_goes_on() -> None:
    held = Held("trim", 1)

    with held.scope() as scope:
        await trio.lowlevel.checkpoint()
    held.lose()

    assert not scope.cancelled_caught


async def test_the_only_hub_lists_no_others() -> None:
    assert await SoleDuties().hubs() == ()
