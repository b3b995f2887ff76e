"""Cursors and groups of two hubs that share a log."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import NoReturn

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from hookbot.access.quotas import Quota, Quotas
from hookbot.broker.claims import ConsumerId
from hookbot.broker.positions import SWEEP_INTERVAL_S, UNUSED_US, USED
from hookbot.broker.room import MAX_PER_PATH
from hookbot.errors import Ended, HeldElsewhere, NotFound, Refused, Unavailable
from hookbot.log.contract import SavedCursor
from hookbot.log.duties import Held, Holder
from hookbot.protocol.since import FromOldest, SinceTime
from hookbot.protocol.websocket import TRY_AGAIN_LATER
from support.clock import START_US, Clock
from support.consumers import ConsumerHub, ack, ack_each, join, listening, open_hub, take
from support.family import Family

ALL = FromOldest()
ID = ConsumerId("cursor", "/sub/t", "c")


@pytest.fixture
def family() -> Family:
    return Family()


@pytest.fixture
async def hubs(family: Family) -> AsyncIterator[tuple[ConsumerHub, ConsumerHub]]:
    async with open_hub(family.hub("a", "http://a")) as a, open_hub(family.hub("b", "http://b")) as b:
        yield a, b


async def given_up(family: Family) -> None:
    """Wait until no hub serves anything."""
    with trio.fail_after(10):
        while family.served:
            await trio.sleep(0.01)


@asynccontextmanager
async def frozen(hub: ConsumerHub) -> AsyncIterator[None]:
    """A hub that does not notice what the others do, as one that is stopped for a while."""
    hub.log.duties.frozen = True
    yield
    hub.log.duties.frozen = False


# -- one hub serves it


async def test_a_cursor_in_use_is_served_by_the_hub_of_its_connection_alone(
    hubs: tuple[ConsumerHub, ConsumerHub],
) -> None:
    a, b = hubs
    async with a.open(cursor="c"):
        with pytest.raises(HeldElsewhere, match="the cursor c is served by the hub a") as held:
            async with b.open(cursor="c"):
                pass
        with pytest.raises(HeldElsewhere):
            await b.consumers.locate(listening(cursor="c"))
        await b.consumers.locate(listening(cursor="d"))

    assert held.value.url == "http://a"


@pytest.mark.parametrize(("ends_s", "retry_after_s"), [(9.9, 0), (7.1, 0), (5.3, 5.3)])
async def test_who_is_refused_is_told_when_a_hub_that_seems_to_be_dead_no_longer_serves_it(
    family: Family, hubs: tuple[ConsumerHub, ConsumerHub], ends_s: float, retry_after_s: float
) -> None:
    a, b = hubs
    family.ends_s = ends_s
    async with a.open(cursor="c"):
        with pytest.raises(HeldElsewhere) as held:
            await b.consumers.locate(listening(cursor="c"))

    assert held.value.retry_after_s == retry_after_s


async def test_a_cursor_goes_on_at_another_hub_behind_what_was_acknowledged(
    family: Family, hubs: tuple[ConsumerHub, ConsumerHub], autojump_clock: MockClock
) -> None:
    a, b = hubs
    await a.publish("t", "t", "t")

    async with a.open(cursor="c", since=ALL) as cursor:
        assert await take(cursor, 3) == [1, 2, 3]
        generation = cursor.hello["generation"]
        ack(cursor, a, 2)
    await given_up(family)
    async with b.open(cursor="c") as cursor:
        taken = await take(cursor, 1)
        # One that was received from the other hub.
        ack(cursor, b, 3)
        again = cursor.hello
    await given_up(family)

    assert taken == [3]
    assert (again["position"], again["generation"]) == (b.id(2), generation)
    assert await a.saved() == {"cursor /sub/t c": 3}


async def test_a_group_goes_on_at_another_hub_with_what_was_acknowledged_out_of_order(
    family: Family, hubs: tuple[ConsumerHub, ConsumerHub], autojump_clock: MockClock
) -> None:
    a, b = hubs
    await a.publish("t", "t", "t")

    async with join(a, since=ALL) as member:
        await take(member, 3)
        ack_each(member, a, 1, 3)
        with pytest.raises(HeldElsewhere):
            async with join(b):
                pass
    await given_up(family)
    async with join(b) as member:
        assert await take(member, 1) == [2]


async def test_a_duty_is_given_up_when_everything_is_saved_and_nobody_is_left(
    family: Family, hubs: tuple[ConsumerHub, ConsumerHub], autojump_clock: MockClock
) -> None:
    a, _ = hubs
    await a.publish("t")

    async with a.open(cursor="c", since=ALL) as cursor:
        await take(cursor, 1)
        ack(cursor, a, 1)
        await trio.sleep(1)
        assert family.served == {"cursor /sub/t c"}
    await given_up(family)

    assert await a.saved() == {"cursor /sub/t c": 1}


async def test_one_that_is_waited_for_is_not_given_up(
    family: Family, hubs: tuple[ConsumerHub, ConsumerHub], autojump_clock: MockClock
) -> None:
    a, _ = hubs
    opened = trio.Event()

    async def wait() -> None:
        async with a.open(cursor="c"):
            opened.set()
            await trio.sleep(1)

    async with trio.open_nursery() as nursery:
        async with a.open(cursor="c"):
            nursery.start_soon(wait)
            await wait_all_tasks_blocked()
        await opened.wait()
        assert family.served == {"cursor /sub/t c"}

    assert a.log.duties.claims == 1


async def test_a_hub_that_leaves_saves_and_gives_up_everything(family: Family) -> None:
    async with open_hub(family.hub("b")) as b:
        async with open_hub(family.hub("a")) as a, a.open(cursor="c", since=ALL) as cursor:
            await a.publish("t")
            await take(cursor, 1)
            ack(cursor, a, 1)

        async with b.open(cursor="c") as cursor:
            assert cursor.hello["position"] == b.id(1)


# -- it is lost


async def test_a_connection_whose_hub_loses_the_cursor_ends(
    family: Family, hubs: tuple[ConsumerHub, ConsumerHub]
) -> None:
    a, b = hubs
    async with a.open(cursor="c") as cursor:
        await b.consumers.locate(listening(cursor="c"), takeover=True)

        with pytest.raises(Ended, match="another hub of the family serves the cursor c now") as ended:
            await cursor.take()
        async with b.open(cursor="c") as other:
            assert other.hello["generation"] == cursor.hello["generation"]

    assert ended.value.code == TRY_AGAIN_LATER


async def test_a_member_whose_hub_loses_the_group_ends(hubs: tuple[ConsumerHub, ConsumerHub]) -> None:
    a, b = hubs
    async with join(a) as member:
        await b.consumers.locate(listening(group="g"), takeover=True)

        with pytest.raises(Ended):
            await member.take()
        async with join(b):
            with pytest.raises(HeldElsewhere):
                async with join(a):
                    pass


async def test_what_a_hub_saves_that_has_lost_the_cursor_without_noticing_is_not_stored(
    hubs: tuple[ConsumerHub, ConsumerHub], autojump_clock: MockClock
) -> None:
    a, b = hubs
    await a.publish("t", "t")

    async with frozen(a), a.open(cursor="c", since=ALL) as old:
        await take(old, 2)
        await b.consumers.locate(listening(cursor="c"), takeover=True)
        async with b.open(cursor="c") as new:
            ack(new, b, 1)
            await trio.sleep(1)
            ack(old, a, 2)
            with pytest.raises(Ended):
                await old.take()
            saved = await a.saved()

    assert saved == {"cursor /sub/t c": 1}


async def test_a_cursor_that_is_lost_while_it_is_to_be_saved_is_not_deleted(
    hubs: tuple[ConsumerHub, ConsumerHub],
) -> None:
    a, _ = hubs
    await a.publish("t")
    names = [f"c{number}" for number in range(20)]
    async with AsyncExitStack() as stack:
        cursors = [await stack.enter_async_context(a.open(cursor=name, since=ALL)) for name in names]
        for cursor in cursors:
            await take(cursor, 1)
        # Before another hub has it, as after a suspension: whatever is saved for the duty is valid.
        lost = [a.log.duties.find(f"cursor /sub/t {name}") for name in names]
        for cursor, held in zip(cursors, lost, strict=True):
            ack(cursor, a, 1)
            held.lose()
        await wait_all_tasks_blocked()
        saved = await a.saved()

    assert saved.keys() == {f"cursor /sub/t {name}" for name in names}


async def test_a_save_that_fails_keeps_the_duty_until_it_succeeds(
    family: Family, hubs: tuple[ConsumerHub, ConsumerHub], monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    a, b = hubs
    store = family.log.store
    await a.publish("t")

    async with a.open(cursor="c", since=ALL) as cursor:
        await take(cursor, 1)
        monkeypatch.setattr(family.log, "store", lambda units, done: done(Unavailable("the server is gone")))
        ack(cursor, a, 1)
    await trio.sleep(5)
    assert family.served
    monkeypatch.setattr(family.log, "store", store)
    await given_up(family)

    async with b.open(cursor="c") as cursor:
        assert cursor.hello["position"] == b.id(1)


async def test_a_duty_whose_state_cannot_be_read_is_given_up(
    family: Family, hubs: tuple[ConsumerHub, ConsumerHub], monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = hubs
    with monkeypatch.context() as patch:
        patch.setattr(family.log, "cursors", _fail)
        with pytest.raises(Unavailable):
            await a.consumers.locate(listening(cursor="c"))

    assert not family.served
    async with b.open(cursor="c"):
        pass


async def _fail(_: str) -> NoReturn:
    raise Unavailable("the server is gone")


async def test_a_duty_that_was_given_up_this_moment_is_claimed_again(
    hubs: tuple[ConsumerHub, ConsumerHub], monkeypatch: pytest.MonkeyPatch
) -> None:
    a, _ = hubs
    claim = a.log.duties.claim
    answers: list[Held | Holder] = [await claim("cursor /sub/t c"), Holder("", "")]

    async def late(name: str, *, takeover: bool = False) -> Held | Holder:
        # Not that of trimming, which the broker claims.
        claimed: Held | Holder = answers.pop() if name.startswith("cursor ") else await claim(name)
        return claimed

    monkeypatch.setattr(a.log.duties, "claim", late)
    async with a.open(cursor="c"):
        pass


async def test_a_claim_that_takes_long_holds_up_only_those_for_the_same(
    hubs: tuple[ConsumerHub, ConsumerHub], monkeypatch: pytest.MonkeyPatch
) -> None:
    a, _ = hubs
    claim = a.log.duties.claim
    answer = trio.Event()

    async def slow(name: str, *, takeover: bool = False) -> Held | Holder:
        if name.endswith(" slow"):
            await answer.wait()
        claimed: Held | Holder = await claim(name, takeover=takeover)
        return claimed

    monkeypatch.setattr(a.log.duties, "claim", slow)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(a.consumers.locate, listening(cursor="slow"))
        nursery.start_soon(a.consumers.locate, listening(cursor="slow"))
        await wait_all_tasks_blocked()
        await a.consumers.locate(listening(cursor="quick"))
        answer.set()

    assert a.log.duties.claims == 2


# -- operators


@pytest.mark.parametrize("in_use", [True, False])
async def test_every_hub_lists_all(
    family: Family, hubs: tuple[ConsumerHub, ConsumerHub], in_use: bool, autojump_clock: MockClock
) -> None:
    a, b = hubs
    await a.publish("t", "t")

    async with a.open(cursor="c", since=ALL) as cursor:
        await take(cursor, 1)
        ack(cursor, a, 1)
        await trio.sleep(1)
        if in_use:
            await b.consumers.refresh()
            [info] = await b.consumers.list()
    if not in_use:
        await given_up(family)
        await b.consumers.refresh()
        [info] = await b.consumers.list("/sub/t")

    assert (info.name, info.position, info.lag, info.behind, info.connected) == ("c", b.id(1), 1, 1, in_use)
    # Only the hub that serves it knows what it has sent.
    assert info.unacked == (None if in_use else 0)


async def test_every_hub_moves_and_deletes_all(
    family: Family, hubs: tuple[ConsumerHub, ConsumerHub], autojump_clock: MockClock
) -> None:
    a, b = hubs
    await a.publish("t", "t")

    async with a.open(cursor="c", since=ALL) as cursor:
        with pytest.raises(HeldElsewhere):
            await b.consumers.move("cursor", "/sub/t", "c", None)
        moved = await b.consumers.move("cursor", "/sub/t", "c", None, takeover=True)
        with pytest.raises(Ended):
            await cursor.take()
    async with a.open(cursor="c") as cursor:
        assert cursor.hello["position"] == moved.position == a.id(2)
        await b.consumers.delete("cursor", "/sub/t", "c", takeover=True)
        with pytest.raises(Ended):
            await cursor.take()
    await given_up(family)

    assert await a.saved() == {}
    with pytest.raises(NotFound):
        await b.consumers.delete("cursor", "/sub/t", "c")


async def test_the_limit_of_a_path_counts_those_of_all_hubs(
    family: Family, hubs: tuple[ConsumerHub, ConsumerHub]
) -> None:
    a, b = hubs
    for number in range(MAX_PER_PATH):
        async with hubs[number % 2].open(cursor=f"c{number}"):
            pass

    with pytest.raises(Refused, match="has 100 cursors and groups already"):
        await a.consumers.locate(listening(cursor="one-more"))
    with pytest.raises(Refused):
        async with b.open(cursor="another"):
            pass
    async with b.open(cursor="c0"), b.open("other", cursor="one-more"):
        pass


async def test_a_new_cursor_has_only_those_of_its_path_read(
    hubs: tuple[ConsumerHub, ConsumerHub], monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = hubs
    for topic in ("t", "t/u", "u"):
        async with a.open(topic, cursor="c"):
            pass
    cursors, read = b.log.cursors, list[str]()

    async def look(prefix: str) -> Sequence[SavedCursor]:
        found: Sequence[SavedCursor] = await cursors(prefix)
        read.extend(saved.name for saved in found if not saved.name.startswith(USED))
        return found

    monkeypatch.setattr(b.log, "cursors", look, raising=False)
    async with b.open(cursor="new"):
        pass

    assert read == ["cursor /sub/t c"]


async def test_other_limits_count_those_of_all_hubs_and_paths(family: Family) -> None:
    of_cursors = Quotas([Quota("t/", {"cursors": 3}, {"cursors": 3})]).of_cursors
    async with (
        open_hub(family.hub("a", "http://a"), limits_of=of_cursors) as a,
        open_hub(family.hub("b", "http://b"), limits_of=of_cursors) as b,
    ):
        for hub, topic in ((a, "t/1"), (b, "t/2"), (b, "u")):
            async with hub.open(topic, cursor="c"):
                pass
        async with a.open("t/3", cursor="c"):
            with pytest.raises(Refused, match="the quota of 't/' is reached: cursors = 3; delete"):
                await b.consumers.locate(listening("t/4", cursor="c"))
        await a.consumers.delete("cursor", "/sub/t/1", "c")
        await b.consumers.locate(listening("t/4", cursor="c"))


@pytest.mark.parametrize("at_once", [True, False])
async def test_clients_who_do_not_stay_have_a_hub_claim_no_more_than_a_path_may_have(
    family: Family, hubs: tuple[ConsumerHub, ConsumerHub], at_once: bool
) -> None:
    a, _ = hubs
    refused = []

    async def locate(number: int) -> None:
        try:
            await a.consumers.locate(listening(cursor=f"c{number}"))
            a.consumers.check_request(listening(cursor=f"c{number}"))
        except Refused:
            refused.append(number)

    async with trio.open_nursery() as nursery:
        for number in range(MAX_PER_PATH + 10):
            nursery.start_soon(locate, number)
            if not at_once:
                await wait_all_tasks_blocked()

    assert len(refused) == 10
    assert len(family.served) == MAX_PER_PATH


async def test_a_move_by_a_hub_that_loses_the_cursor_meanwhile_is_refused_and_leaves_nothing(
    family: Family,
    hubs: tuple[ConsumerHub, ConsumerHub],
    monkeypatch: pytest.MonkeyPatch,
    autojump_clock: MockClock,
) -> None:
    a, b = hubs
    await a.publish("t", "t")
    async with a.open(cursor="c", since=ALL):
        pass
    await given_up(family)
    look_up = family.log.position_before

    async def take_over(time_us: int) -> int:
        await b.consumers.locate(listening(cursor="c"), takeover=True)
        return await look_up(time_us)

    monkeypatch.setattr(family.log, "position_before", take_over)
    with pytest.raises(Unavailable, match="another hub of the family serves the cursor c now"):
        await a.consumers.move("cursor", "/sub/t", "c", SinceTime(START_US * 2))
    await b.consumers.move("cursor", "/sub/t", "c", FromOldest())
    await a.consumers.refresh()
    [info] = await a.consumers.list()

    assert info.position == a.id(0)


# -- the sweep


async def test_the_hub_that_trims_moves_those_that_nobody_uses_past_other_topics(
    family: Family, hubs: tuple[ConsumerHub, ConsumerHub], autojump_clock: MockClock
) -> None:
    a, b = hubs
    for name in ("waits", "idle"):
        async with a.open("t" if name == "waits" else "u", cursor=name):
            pass
    await given_up(family)

    await a.publish("other", "t", "other")
    await trio.sleep(SWEEP_INTERVAL_S + 1)
    await given_up(family)
    claims = a.log.duties.claims + b.log.duties.claims
    await trio.sleep(SWEEP_INTERVAL_S)

    assert await a.saved() == {"cursor /sub/t waits": 1, "cursor /sub/u idle": 3}
    assert a.log.duties.claims + b.log.duties.claims == claims


async def test_the_hub_that_trims_deletes_what_was_unused_for_30_days(autojump_clock: MockClock) -> None:
    clock = Clock(runs=True)
    family = Family(clock_us=clock)
    log = family.hub("a")
    async with open_hub(log, clock=clock) as a:
        async with a.open(cursor="c"):
            pass
        await given_up(family)

        clock.skip(seconds=UNUSED_US / 1e6)
        await trio.sleep(SWEEP_INTERVAL_S + 1)
        await given_up(family)

        assert await a.saved() == {}
