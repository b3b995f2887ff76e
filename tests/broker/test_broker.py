"""Publishing to the log, and subscriptions that follow it."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from hookbot.broker.broker import Broker, Subscription, open_broker
from hookbot.broker.channels import Entry
from hookbot.broker.counts import Counts
from hookbot.broker.limits import BrokerLimits
from hookbot.broker.starts import Start
from hookbot.errors import KeyReused, Unavailable
from hookbot.log.contract import NewPosition, Page
from hookbot.log.memory import MemoryLog
from hookbot.log.retention import Budget, Retention
from hookbot.protocol.message import Draft, Duplicate, Gap, Message, Once, format_id
from hookbot.protocol.since import AfterId, FromOldest
from hookbot.protocol.topics import TopicFilter
from support import GUARD_S
from support.clock import Clock, pass_time, trusted
from support.stubborn_log import StubbornLog

A = TopicFilter.parse("a")
ALL = TopicFilter(("", "/unsafe/"))
KEEP_ALL = Retention(max_age_s=None, max_bytes=None, max_unsafe_bytes=None)
NO_CURSORS: Mapping[str, NewPosition] = {}


class UnreadableLog(StubbornLog):
    """A log that can also fail to read."""

    async def read(self, wanted: TopicFilter, **how: Any) -> Page:
        if self.error:
            raise self.error
        return await super().read(wanted, **how)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def log(clock: Clock) -> UnreadableLog:
    return UnreadableLog(clock_us=clock)


@pytest.fixture
def limits() -> BrokerLimits:
    return BrokerLimits()


@pytest.fixture
async def broker(log: UnreadableLog, clock: Clock, limits: BrokerLimits) -> AsyncIterator[Broker]:
    async with open_broker(log, KEEP_ALL, clock_us=clock, limits=limits) as broker:
        yield broker


with_a_small_window = pytest.mark.parametrize("limits", [BrokerLimits(window_messages=10, page_messages=7)])


async def publish_one(broker: Broker, draft: Draft) -> Message:
    message = await broker.publish(draft)
    assert isinstance(message, Message)
    return message


async def publish(broker: Broker, count: int = 1, topic: str = "a", body: bytes = b"") -> list[Message]:
    outcomes = await broker.commit([Draft(topic, body) for _ in range(count)])
    return [outcome for outcome in outcomes if isinstance(outcome, Message)]


async def take(subscription: Subscription, count: int) -> list[Any]:
    """The positions of the next messages, and the gaps between them."""
    taken: list[Any] = []
    with trio.fail_after(GUARD_S):
        while sum(isinstance(item, int) for item in taken) < count:
            taken += [item if isinstance(item, Gap) else item.position for item in await subscription.take()]
    return taken


async def take_now(subscription: Subscription) -> list[Entry | Gap]:
    """Entries and gaps that can be taken without waiting."""
    taken: list[Entry | Gap] = []

    async def take_once() -> None:
        taken.extend(await subscription.take())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(take_once)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    return taken


def id_of(log: MemoryLog, position: int) -> str:
    return format_id(log.epoch, position)


async def test_a_publish_returns_when_the_message_is_stored(broker: Broker, log: UnreadableLog) -> None:
    message = await broker.publish(Draft("a", b"body"))
    page = await log.read(A, after=0, limit=10, max_bytes=100)
    assert page.messages == [message]
    assert message.id == id_of(log, 1)


async def test_messages_have_the_order_in_which_they_were_published(broker: Broker, nursery: trio.Nursery) -> None:
    results = {}

    async def publish_number(number: int) -> None:
        results[number] = (await publish_one(broker, Draft("a"))).position

    for number in range(50):
        nursery.start_soon(publish_number, number)
        await trio.lowlevel.checkpoint()
    await wait_all_tasks_blocked()
    assert sorted(results.values()) == list(range(1, 51))


async def test_a_repeat_is_a_duplicate_and_another_body_under_its_key_is_refused(broker: Broker) -> None:
    def draft(body: bytes) -> Draft:
        return Draft("a", body, once=(Once("idempotency", "a", "key", fingerprint=body),))

    first = await broker.publish(draft(b"1"))
    assert await broker.publish(draft(b"1")) == Duplicate(first.id)
    with pytest.raises(KeyReused):
        await broker.publish(draft(b"2"))
    assert (broker.counts.published, broker.counts.duplicates) == (1, 1)


async def test_a_commit_holds_messages_and_cursors(broker: Broker, log: UnreadableLog) -> None:
    await broker.commit([Draft("a"), Draft("b")], cursors={"mine": 1})
    assert log.head == 2
    assert [(cursor.name, cursor.position) for cursor in await log.cursors()] == [("mine", 1)]


@pytest.mark.parametrize("limits", [BrokerLimits(queue_bytes=1000)])
async def test_too_much_at_once_is_unavailable(broker: Broker, log: UnreadableLog) -> None:
    log.may_store = trio.Event()
    results: list[Any] = []
    broker.submit([Draft("a")], results.append)
    await wait_all_tasks_blocked()
    broker.submit([Draft("a", b"x" * 900)], results.append)
    with pytest.raises(Unavailable):
        await broker.publish(Draft("a", b"x" * 900))
    log.may_store.set()
    await wait_all_tasks_blocked()
    assert len(results) == 2


async def test_when_the_log_fails_publishers_are_told_and_the_hub_lives_on(
    broker: Broker, log: UnreadableLog, nursery: trio.Nursery
) -> None:
    told = []

    async def try_to_publish() -> None:
        try:
            await broker.publish(Draft("a"))
        except Unavailable as error:
            told.append(str(error))

    log.error = Unavailable("disk full")
    for _ in range(3):
        nursery.start_soon(try_to_publish)
    await wait_all_tasks_blocked()
    assert told == ["disk full"] * 3

    log.error = None
    assert (await publish_one(broker, Draft("a"))).position == 1


async def test_a_publisher_in_line_cannot_be_cancelled_and_learns_the_outcome(
    broker: Broker, log: UnreadableLog, nursery: trio.Nursery
) -> None:
    log.may_store = trio.Event()
    with trio.CancelScope() as scope:
        nursery.start_soon(wait_and_do, scope.cancel, log.may_store.set)
        message = await publish_one(broker, Draft("a"))
    assert message.position == log.head == 1


async def wait_and_do(*things: Any) -> None:
    await wait_all_tasks_blocked()
    for thing in things:
        thing()


async def test_when_the_broker_closes_what_is_in_line_is_stored_and_more_is_refused(log: UnreadableLog) -> None:
    log.may_store = trio.Event()
    results: list[Any] = []
    async with open_broker(log) as broker:
        broker.submit([Draft("a")], results.append)
        broker.writer.close()
        with pytest.raises(Unavailable, match="shutting down"):
            await broker.publish(Draft("a"))
        log.may_store.set()
    assert [message.position for message in results[0]] == [1]


async def test_a_subscription_hears_what_is_new_and_of_its_filter(broker: Broker) -> None:
    await publish(broker, 2)
    with broker.subscribe(A) as subscription:
        await publish(broker, 2, topic="b")
        await publish(broker, 2)
        assert await take(subscription, 2) == [5, 6]


async def test_a_subscription_that_waits_is_woken(broker: Broker, nursery: trio.Nursery) -> None:
    with broker.subscribe(A) as subscription:
        nursery.start_soon(publish, broker)
        assert await take(subscription, 1) == [1]


async def test_cancelling_a_wait_loses_nothing(broker: Broker) -> None:
    with broker.subscribe(A) as subscription:
        assert await take_now(subscription) == []
        await publish(broker)
        with trio.CancelScope() as scope:
            scope.cancel()
            await subscription.take()
        assert await take(subscription, 1) == [1]


async def test_all_who_listen_share_the_entries(broker: Broker) -> None:
    with broker.subscribe(A) as one, broker.subscribe(A) as other:
        await publish(broker)
        assert (await one.take())[0] is (await other.take())[0]


@pytest.mark.slow
@with_a_small_window
async def test_from_history_to_live_there_is_no_seam_while_others_publish(
    broker: Broker, autojump_clock: MockClock
) -> None:
    await publish(broker, 100)
    total = 2000
    heard = []

    async def publish_all(nursery: trio.Nursery) -> None:
        for number in range(100, total):
            nursery.start_soon(broker.publish, Draft("b" if number % 10 == 0 else "a"))
            if number % 7 == 0:
                await trio.lowlevel.checkpoint()

    async def listen() -> None:
        with broker.subscribe(ALL, await broker.starts.at(FromOldest(), ALL)) as subscription:
            heard.append(await take(subscription, total))

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(listen)
        nursery.start_soon(publish_all, nursery)

    assert heard == [list(range(1, total + 1))] * 5


@with_a_small_window
async def test_who_is_slower_than_the_window_goes_on_in_the_log_and_comes_back(broker: Broker) -> None:
    with broker.subscribe(A) as slow, broker.subscribe(A) as fast:
        await publish(broker, 5)
        assert await take(fast, 5) == await take(slow, 5)
        for _ in range(20):
            await publish(broker, 3)
            await publish(broker, 1, topic="b")
            await take(fast, 3)

        heard = await take(slow, 60)
        assert heard == [n for n in range(6, 86) if (n - 5) % 4]
        await publish(broker)
        assert await take(slow, 1) == [86]


@with_a_small_window
async def test_a_stalled_subscription_delays_nobody(broker: Broker) -> None:
    with broker.subscribe(A), broker.subscribe(A) as fast:
        for number in range(100):
            await publish(broker)
            assert await take(fast, 1) == [number + 1]


@with_a_small_window
async def test_what_retention_took_meanwhile_is_told_as_a_gap_before_what_follows(
    broker: Broker, log: UnreadableLog
) -> None:
    await publish(broker, 3)
    with broker.subscribe(A, Start(0)) as subscription:
        assert await take(subscription, 3) == [1, 2, 3]
        await publish(broker, 97)
        await log.trim(Retention(max_count=20), now_us=0)
        gap = Gap("retention", id_of(log, 3), id_of(log, 81))
        assert await take(subscription, 20) == [gap, *range(81, 101)]


@with_a_small_window
async def test_a_hole_in_the_middle_of_catching_up_is_told(broker: Broker, log: UnreadableLog) -> None:
    await publish(broker, 100)
    with broker.subscribe(A, Start(0)) as subscription:
        assert await take(subscription, 7) == list(range(1, 8))
        await log.trim(Retention(max_count=50), now_us=0)
        gap = Gap("retention", id_of(log, 7), id_of(log, 51))
        assert await take(subscription, 50) == [gap, *range(51, 101)]


class TrimmedLog(MemoryLog):
    """A log whose retention runs just after a page was read."""

    async def read(self, wanted: TopicFilter, **how: Any) -> Page:
        page = await super().read(wanted, **how)
        await self.trim(Retention(max_count=96), now_us=0)
        return page


async def test_a_hole_that_opens_while_a_page_is_read_is_told_and_nothing_of_it_is_sent() -> None:
    log = TrimmedLog()
    async with open_broker(log, KEEP_ALL, limits=BrokerLimits(window_messages=10, page_messages=7)) as broker:
        await publish(broker, 100)
        with broker.subscribe(A, Start(0)) as subscription:
            assert await take(subscription, 5) == [Gap("retention", None, id_of(log, 5)), 5, 6, 7, *range(8, 15)]


@with_a_small_window
async def test_the_gap_before_a_start_at_the_head_is_told_at_once(broker: Broker, log: UnreadableLog) -> None:
    gap = Gap("other-log", None, id_of(log, 1))
    with broker.subscribe(A, Start(broker.head, gap)) as subscription:
        assert await subscription.take() == [gap]


async def test_even_when_nothing_is_left_the_gap_is_told_at_once(broker: Broker, log: UnreadableLog) -> None:
    await publish(broker, 100)
    with broker.subscribe(A, Start(2)) as subscription:
        await log.trim(Retention(max_count=0), now_us=0)
        assert await subscription.take() == [Gap("retention", id_of(log, 2), id_of(log, 101))]
        await publish(broker)
        assert await take(subscription, 1) == [101]


@with_a_small_window
async def test_a_log_that_cannot_be_read_is_told_and_tried_again(broker: Broker, log: UnreadableLog) -> None:
    await publish(broker, 100)
    with broker.subscribe(A, Start(0)) as subscription:
        log.error = Unavailable("no disk")
        with pytest.raises(Unavailable, match="no disk"):
            await subscription.take()
        log.error = None
        assert await take(subscription, 7) == list(range(1, 8))


async def test_a_quiet_subscription_skips_to_the_head(broker: Broker, log: UnreadableLog) -> None:
    with broker.subscribe(A) as subscription:
        await publish(broker, 5, topic="b")
        assert subscription.skip_unwanted() == 5
        await publish(broker, 1)
        await publish(broker, 1, topic="b")
        assert subscription.skip_unwanted() == 5
        assert await take(subscription, 1) == [6]
        assert subscription.skip_unwanted() == 7

        await log.trim(Retention(max_count=0), now_us=0)
        await publish(broker)
        assert await take(subscription, 1) == [8]


@with_a_small_window
async def test_who_catches_up_does_not_skip_ahead_of_what_was_taken(broker: Broker) -> None:
    await publish(broker, 100)
    with broker.subscribe(A, Start(0)) as subscription:
        assert subscription.skip_unwanted() == 0
        assert await take(subscription, 7) == list(range(1, 8))
        assert subscription.skip_unwanted() == 7


@pytest.mark.parametrize("days", [30, -30])
async def test_a_jump_of_the_clock_deletes_nothing_and_is_in_no_time(autojump_clock: MockClock, days: int) -> None:
    wall = Clock(runs=True)
    clock = trusted(wall)
    log = MemoryLog(clock_us=clock)
    draft = Draft("a", once=(Once("replay", "a", "k"),))
    async with open_broker(log, Retention(), clock_us=clock) as broker:
        first = await publish_one(broker, draft)
        wall.skip(days=days)
        await pass_time(4)
        during = await publish_one(broker, Draft("a"))
        repeat = await broker.publish(draft)
        wall.skip(days=-days)
        await pass_time(4)
        after = await publish_one(broker, Draft("a"))

    assert repeat == Duplicate(first.id)
    assert log.lost_up_to(A) == 0
    assert [message.time_us - first.time_us for message in (during, after)] == [4_000_000, 8_000_000]


async def test_what_is_gathered_is_stored_in_one_batch_when_it_is_flushed(broker: Broker) -> None:
    results: list[Any] = []
    await wait_all_tasks_blocked()
    broker.gather()
    for topic in "ab":
        broker.submit([Draft(topic)], results.append)
    assert results == []

    broker.flush()
    assert [outcome.topic for [outcome] in results] == ["a", "b"]

    broker.submit([Draft("c")], results.append)
    await wait_all_tasks_blocked()
    assert len(results) == 3


@pytest.mark.parametrize("days", [30, -30])
async def test_a_jump_that_lasts_deletes_only_what_is_old(autojump_clock: MockClock, days: int) -> None:
    wall = Clock(runs=True)
    clock = trusted(wall)
    log = MemoryLog(clock_us=clock)
    async with open_broker(log, Retention(max_age_s=86_400), clock_us=clock) as broker:
        first = await publish_one(broker, Draft("a"))
        wall.skip(days=days)
        await pass_time(3600)
        second, second_us = await publish_one(broker, Draft("a")), wall()
        early = log.lost_up_to(A)
        await pass_time(23 * 3600 + 10)

    # Times never decrease. So what was stored before the clock was set back is kept for longer.
    assert second.time_us == max(second_us, first.time_us)
    assert early == 0
    assert log.lost_up_to(A) == (1 if days > 0 else 0)


async def test_a_start_long_after_the_newest_message_deletes_nothing_for_ten_minutes(
    autojump_clock: MockClock,
) -> None:
    wall = Clock(runs=True)
    log = MemoryLog(clock_us=wall)
    await log.append([Draft("a")])
    wall.skip(days=30)
    async with open_broker(log, Retention(), clock_us=trusted(wall)):
        await pass_time(595)
        early = log.lost_up_to(A)
        await pass_time(10)

    assert early == 0
    assert log.lost_up_to(A) == 1


async def test_what_other_budgets_keep_is_delivered_behind_one_gap(log: MemoryLog) -> None:
    everything = TopicFilter(("",))
    limits = BrokerLimits(window_messages=2, page_messages=3)
    async with open_broker(log, KEEP_ALL, limits=limits) as broker:
        for n in range(10):
            await publish(broker, topic="logs/a" if n % 2 else "a")
        await log.trim(replace(KEEP_ALL, sections=(Budget("logs/", None, None, 1),)), now_us=0)
        resumed = await broker.starts.at(AfterId(log.epoch, 2), everything)
        oldest = await broker.starts.at(FromOldest(), everything)

        for start, expected in (
            (resumed, [("retention", 8), 3, 5, 7, 9, 10]),
            (oldest, [1, 3, 5, 7, 9, 10]),
            (Start(4), [("retention", 8), 5, 7, 9, 10]),
        ):
            found: list[int | tuple[str, int]] = []
            with broker.subscribe(everything, start) as subscription:
                while 10 not in found:
                    items = await subscription.take()
                    found += [(one.reason, one.position) if isinstance(one, Gap) else one.position for one in items]
            assert found == expected


@pytest.mark.slow
@settings(max_examples=60)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("publish"), st.integers(1, 15)),
            st.tuples(st.just("trim"), st.integers(0, 40)),
            st.tuples(st.just("take"), st.integers(1, 5)),
            st.tuples(st.just("skip"), st.just(0)),
        ),
        max_size=25,
    )
)
async def test_a_subscription_gets_everything_in_order_once_or_is_told_of_the_hole(
    operations: list[tuple[str, int]],
) -> None:
    limits = BrokerLimits(window_messages=6, page_messages=4)
    log, reached = MemoryLog(), 0
    published: list[Message] = []
    async with open_broker(log, KEEP_ALL, limits=limits) as broker:
        with broker.subscribe(A) as subscription:
            for operation, number in [*operations, ("take", 1000)]:
                if operation == "publish":
                    outcomes = await broker.commit([Draft("a" if n % 3 else "b") for n in range(number)])
                    published += [outcome for outcome in outcomes if isinstance(outcome, Message)]
                elif operation == "trim":
                    await log.trim(Retention(max_count=number), now_us=0)
                elif operation == "skip":
                    reached = max(reached, subscription.skip_unwanted())
                else:
                    places = [message.position for message in published if message.topic == "a"]
                    reached = await check_takes(subscription, log, places, reached, number)


async def check_takes(subscription: Subscription, log: MemoryLog, places: list[int], reached: int, count: int) -> int:
    """Take until nothing is left, at most `count` times; every message skipped was deleted and reported by a gap."""
    for _ in range(count):
        items = await take_now(subscription)
        if not items:
            break
        for item in items:
            if isinstance(item, Entry):
                assert item.position == next(place for place in places if place > reached)
                reached = item.position
            else:
                before = int(item.before[-15:])
                assert reached < before - 1 == log.lost_up_to(A)
                reached = before - 1
    return reached


async def test_the_gap_of_its_start_is_the_first_that_a_subscription_takes(broker: Broker, log: UnreadableLog) -> None:
    await publish(broker)
    gap = Gap("other-log", None, id_of(log, 1))

    with broker.subscribe(A, Start(0, gap)) as subscription:
        assert await take(subscription, 1) == [gap, 1]


async def test_a_subscription_that_starts_before_others_messages_waits_for_the_first_of_its_own(broker: Broker) -> None:
    await publish(broker, 3, topic="b")

    with broker.subscribe(A, Start(0)) as subscription:
        assert await take_now(subscription) == []
        await publish(broker)
        assert await take(subscription, 1) == [4]


def test_refusals_are_counted_by_status_and_nothing_else_is() -> None:
    counts = Counts()
    for status in (200, 101, 401, 401, 503):
        counts.count_response(status)

    assert counts.refused == {"401": 2, "503": 1}
