"""Duties of several hubs: each with its own connection, and its own tasks."""

from collections.abc import AsyncIterator

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from hookbot.errors import Unavailable
from hookbot.log.duties import Held, Holder
from hookbot.log.postgres_duties import MAX_REPLYING, PostgresDuties
from support.duty_hubs import SAME, DutyHub, Family


@pytest.fixture
async def here(family: Family) -> AsyncIterator[DutyHub]:
    async with family.hub("here", url="http://here") as hub:
        yield hub


@pytest.fixture
async def there(family: Family) -> AsyncIterator[DutyHub]:
    async with family.hub("there", url="http://there") as hub:
        yield hub


async def claimed(hub: DutyHub, name: str = "trim", *, takeover: bool = False) -> Held:
    held = await hub.duties.claim(name, takeover=takeover)
    assert isinstance(held, Held)
    return held


async def renewed(hub: DutyHub, name: str) -> None:
    """Wait until a renewal is over that begins from now on: the second claim is behind it."""
    hub.duties.look()
    for _ in range(2):
        await claimed(hub, name)


async def refused(hub: DutyHub, name: str = "trim") -> Holder:
    holder = await hub.duties.claim(name)
    assert isinstance(holder, Holder)
    return holder


async def claimed_when_changed(duties: PostgresDuties, name: str = "trim") -> Held:
    """The duty, claimed again after each notification."""
    while True:
        changed = duties.changed
        answer = await duties.claim(name)
        if isinstance(answer, Held):
            return answer
        await changed.wait()


async def test_a_second_hub_is_told_who_has_the_duty(here: DutyHub, there: DutyHub) -> None:
    await claimed(here)

    holder = await refused(there)

    assert (holder.hub, holder.url) == ("here", "http://here")
    assert 0 < holder.ends_s <= 10
    assert not there.duties.find("trim")


async def test_each_duty_is_another_ones(here: DutyHub, there: DutyHub) -> None:
    await claimed(here, "router/a")
    await claimed(there, "router/b")

    assert (await refused(there, "router/a")).hub == "here"
    assert (await refused(here, "router/b")).hub == "there"


async def test_the_fence_grows_by_one_each_time_a_duty_is_claimed(here: DutyHub, there: DutyHub) -> None:
    first = await claimed(here)
    await here.duties.give_up(first)
    second = await claimed_when_changed(there.duties)
    third = await claimed(here, takeover=True)

    assert [second.fence, third.fence] == [first.fence + 1, first.fence + 2]


async def test_a_duty_of_a_hub_that_died_is_claimed_when_its_time_is_over(
    family: Family, here: DutyHub, there: DutyHub
) -> None:
    first = await claimed(here)
    here.die()
    assert await refused(there)

    family.end_all()
    second = await claimed(there)

    assert second.fence == first.fence + 1


async def test_all_duties_are_claimed_at_once_when_a_hub_leaves(family: Family, there: DutyHub) -> None:
    async with family.hub("here") as here:
        held = [await claimed(here, "trim"), await claimed(here, "router/a")]
        assert await refused(there)

    await claimed_when_changed(there.duties, "trim")
    await claimed_when_changed(there.duties, "router/a")
    assert all(one.lost.is_set() for one in held)
    assert [hub.id for hub in await there.duties.hubs()] == ["there"]


async def test_who_waits_is_woken_when_a_duty_is_given_up(here: DutyHub, there: DutyHub, nursery: trio.Nursery) -> None:
    held = await claimed(here)
    changed = there.duties.changed
    await refused(there)

    await here.duties.give_up(held)

    await changed.wait()
    await claimed(there)


async def test_a_takeover_is_noticed_by_who_had_the_duty(here: DutyHub, there: DutyHub) -> None:
    lost = await claimed(here)
    kept = await claimed(here, "router/a")

    taken = await claimed(there, takeover=True)

    await lost.lost.wait()
    assert taken.fence == lost.fence + 1
    assert not here.duties.find("trim")
    assert not kept.lost.is_set()


async def test_a_hub_that_slept_notices_that_it_has_lost_a_duty(family: Family, here: DutyHub, there: DutyHub) -> None:
    lost = await claimed(here)
    family.end_all()
    await claimed(there)

    here.duties.look()

    await lost.lost.wait()
    await here.duties.give_up(lost)
    assert (await refused(here)).hub == "there"
    assert there.duties.find("trim")


async def test_a_hub_that_slept_keeps_what_nobody_has_claimed(family: Family, here: DutyHub, there: DutyHub) -> None:
    held = await claimed(here)
    family.end_all()

    await renewed(here, "router/a")

    assert (await refused(there)).hub == "here"
    assert not held.lost.is_set()


async def test_a_hub_that_claims_what_it_has_gets_a_new_fence(here: DutyHub) -> None:
    first = await claimed(here)

    second = await claimed(here)

    assert first.lost.is_set()
    assert second.fence == first.fence + 1


async def test_claims_of_many_tasks_are_all_answered(here: DutyHub, there: DutyHub) -> None:
    names = [f"cursor /sub/a {n}" for n in range(50)]

    async def claim(hub: DutyHub, name: str) -> None:
        answers.append(await hub.duties.claim(name))

    answers: list[Held | Holder] = []
    async with trio.open_nursery() as nursery:
        for name in names:
            nursery.start_soon(claim, here, name)
            nursery.start_soon(claim, there, name)

    held = [answer.name for answer in answers if isinstance(answer, Held)]
    assert sorted(held) == sorted(names)
    assert len(answers) == 2 * len(names)


async def test_a_claim_of_the_same_duty_by_several_tasks_is_held_by_one(here: DutyHub) -> None:
    answers: list[Held] = []

    async def claim() -> None:
        answers.append(await claimed(here))

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(claim)

    assert [answer.lost.is_set() for answer in sorted(answers, key=lambda held: held.fence)] == [True, True, False]


async def test_a_claim_that_was_cancelled_holds_nothing(here: DutyHub, there: DutyHub) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        await here.duties.claim("trim")

    # Behind the other one.
    await claimed(here, "router/a")
    await claimed_when_changed(there.duties)
    assert not here.duties.find("trim")


async def test_a_claim_without_the_server_is_unavailable(here: DutyHub) -> None:
    here.die()

    with pytest.raises(Unavailable):
        await here.duties.claim("trim")
    with pytest.raises(Unavailable):
        await here.duties.hubs()


async def test_a_hub_that_leaves_answers_who_waits(family: Family, nursery: trio.Nursery) -> None:
    async def claim(name: str) -> None:
        with pytest.raises(Unavailable, match="shutting down"):
            await hub.duties.claim(name)
        answered.set()

    async def unlock() -> None:
        await wait_all_tasks_blocked()
        batch.execute("SELECT pg_advisory_unlock(1)")

    answered = trio.Event()
    with family.connect() as batch:
        async with family.hub() as hub:
            await claimed(hub)
            batch.execute("SELECT pg_advisory_lock(1)")
            nursery.start_soon(hub.duties.claim, "behind the batch")
            await wait_all_tasks_blocked()
            nursery.start_soon(claim, "behind that")
            await wait_all_tasks_blocked()
            nursery.start_soon(unlock)

    await answered.wait()
    await claim("too late")


async def test_hubs_are_listed_with_what_they_have_told_and_hold(here: DutyHub, there: DutyHub) -> None:
    await claimed(here, "trim")
    await claimed(here, "router/a")
    here.told = 7
    await renewed(here, "router/b")
    await claimed(there, "router/c")

    first, second = sorted(await there.duties.hubs(), key=lambda hub: hub.id)

    assert (first.id, first.url, first.version, first.configuration) == (
        "here",
        "http://here",
        "1.0",
        SAME,
    )
    assert (first.told, first.duties) == (7, ["router/a", "router/b", "trim"])
    assert (second.id, second.duties) == ("there", ["router/c"])
    assert first.started_us > 0
    assert first.seen_ago_s < 10


async def test_hubs_tell_each_other_to_which_topics_their_listeners_reply(family: Family, here: DutyHub) -> None:
    async with family.hub("other") as other:
        other.duties.tell_replying(["a/", "/unsafe/b"])
        await renewed(other, "trim")
        here.duties.tell_replying(["c"])
        await renewed(here, "router/a")

        assert set(here.duties.replying) == {"a/", "/unsafe/b"}

        other.duties.tell_replying(["x" * MAX_REPLYING, "y"])
        await renewed(other, "router/b")
        await renewed(here, "router/c")
        assert set(here.duties.replying) == {"", "/unsafe/"}

    await renewed(here, "router/d")
    assert not here.duties.replying


async def test_a_hub_with_another_configuration_is_named_once(
    family: Family, here: DutyHub, caplog: pytest.LogCaptureFixture
) -> None:
    async with family.hub("other", url="http://other", configuration='{"key": "another"}') as other:
        await renewed(other, "trim")
        await renewed(here, "router/a")
        await renewed(here, "router/b")

        other.duties.tell_configuration(SAME)
        await renewed(other, "router/c")
        here.duties.tell_configuration('{"key": "a third"}')
        await renewed(here, "router/d")

    named = [record.message for record in caplog.records if "http://other" in record.message]
    assert len(named) == 2
    assert "another configuration, and needs the same: key" in named[0]
