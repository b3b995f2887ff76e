"""Where subscriptions start, and of which gap they are told first."""

from dataclasses import replace

import pytest

from hookbot.broker.channels import Channels
from hookbot.broker.frame_cache import FrameCache
from hookbot.broker.limits import BrokerLimits
from hookbot.broker.starts import Start, Starts
from hookbot.log.memory import MemoryLog
from hookbot.log.retention import Budget, Retention
from hookbot.protocol.message import Draft, Gap, format_id
from hookbot.protocol.since import AfterId, FromOldest, SinceTime
from hookbot.protocol.topics import TopicFilter
from support.clock import Clock

A = TopicFilter.parse("a")
KEEP_ALL = Retention(max_age_s=None, max_bytes=None, max_unsafe_bytes=None)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def log(clock: Clock) -> MemoryLog:
    return MemoryLog(clock_us=clock)


@pytest.fixture
def starts(log: MemoryLog) -> Starts:
    channels = Channels(log.head, BrokerLimits(), FrameCache(1 << 20))
    log.follow(channels.announce)
    return Starts(log, channels)


async def store(log: MemoryLog, count: int = 1, topic: str = "a") -> None:
    await log.append([Draft(topic)] * count)


def id_of(log: MemoryLog, position: int) -> str:
    return format_id(log.epoch, position)


async def test_a_start_is_now_unless_something_else_is_asked_for(starts: Starts, log: MemoryLog) -> None:
    await store(log, 5)
    assert await starts.at(None, A) == Start(5)


async def test_a_start_after_an_id_is_just_there(starts: Starts, log: MemoryLog) -> None:
    await store(log, 5)
    assert await starts.at(AfterId(log.epoch, 3), A) == Start(3)
    assert await starts.at(AfterId(log.epoch, 5), A) == Start(5)


async def test_a_start_after_an_id_that_retention_took_is_told_of_the_gap(starts: Starts, log: MemoryLog) -> None:
    await store(log, 10)
    await log.trim(Retention(max_count=4), now_us=0)
    gap = Gap("retention", id_of(log, 3), id_of(log, 7))
    assert await starts.at(AfterId(log.epoch, 3), A) == Start(6, gap)
    assert await starts.at(AfterId(log.epoch, 6), A) == Start(6)
    assert await starts.at(FromOldest(), A) == Start(6)


async def test_an_id_of_another_log_starts_with_the_oldest_and_is_told(starts: Starts, log: MemoryLog) -> None:
    await store(log, 10)
    await log.trim(Retention(max_count=4), now_us=0)
    assert await starts.at(AfterId("zzzzzzzz", 3), A) == Start(6, Gap("other-log", None, id_of(log, 7)))


async def test_a_start_after_an_id_from_before_a_restore_is_just_there_or_where_the_backup_ended(
    starts: Starts, log: MemoryLog
) -> None:
    log._ancestors = {"earlierx": 5}
    await store(log, 10)

    assert await starts.at(AfterId("earlierx", 3), A) == Start(3)
    assert await starts.at(AfterId("earlierx", 5), A) == Start(5)
    assert await starts.at(AfterId("earlierx", 6), A) == Start(5, Gap("other-log", None, id_of(log, 6)))
    await log.trim(Retention(max_count=3), now_us=0)
    gap = Gap("retention", id_of(log, 3), id_of(log, 8))
    assert await starts.at(AfterId("earlierx", 3), A) == Start(7, gap)
    assert await starts.at(AfterId("earlierx", 6), A) == Start(7, Gap("other-log", None, id_of(log, 8)))


async def test_an_id_from_the_future_is_not_believed(starts: Starts, log: MemoryLog) -> None:
    await store(log, 10)
    assert await starts.at(AfterId(log.epoch, 11), A) == Start(10, Gap("other-log", None, id_of(log, 11)))


async def test_a_start_at_a_time_is_what_was_stored_since(starts: Starts, log: MemoryLog, clock: Clock) -> None:
    start_us = clock.now_us
    for _ in range(10):
        clock.now_us += 1_000_000
        await store(log)
    assert await starts.at(SinceTime(start_us + 4_000_000), A) == Start(3)
    assert await starts.at(SinceTime(0), A) == Start(0)
    assert await starts.at(SinceTime(clock.now_us + 1), A) == Start(10)

    await log.trim(Retention(max_count=4), now_us=0)
    assert await starts.at(SinceTime(start_us + 8_000_000), A) == Start(7)
    gap = (await starts.at(SinceTime(start_us + 2_000_000), A)).gap
    assert gap
    assert (gap.reason, gap.before) == ("retention", id_of(log, 7))


async def test_who_may_not_see_the_past_starts_after_it(starts: Starts, log: MemoryLog, clock: Clock) -> None:
    for _ in range(10):
        clock.now_us += 1_000_000
        await store(log)
    earliest_us = clock.now_us - 3_000_000
    assert await starts.at(FromOldest(), A, not_before_us=earliest_us) == Start(6)
    assert await starts.at(AfterId("zzzzzzzz", 3), A, not_before_us=earliest_us) == Start(6)
    assert await starts.at(AfterId(log.epoch, 8), A, not_before_us=earliest_us) == Start(8)


async def test_unsafe_history_that_was_lost_is_no_gap_for_the_safe(starts: Starts, log: MemoryLog) -> None:
    await store(log, 10, topic="/unsafe/a")
    await store(log, 1)
    await log.trim(Retention(max_unsafe_bytes=0, max_bytes=None), now_us=0)
    assert (await starts.at(AfterId(log.epoch, 3), A)).gap is None
    assert (await starts.at(AfterId(log.epoch, 3), TopicFilter.parse("/unsafe/"))).gap is not None


async def test_who_may_not_see_the_past_is_told_of_a_gap_only_if_something_was_missed(
    starts: Starts, log: MemoryLog, clock: Clock
) -> None:
    everything = TopicFilter(("",))
    for n in range(10):
        clock.now_us += 1_000_000
        await store(log, topic="logs/a" if n % 2 else "a")
    await log.trim(replace(KEEP_ALL, sections=(Budget("logs/", None, None, 1),)), now_us=0)
    earliest_us = clock.now_us - 6_000_000

    oldest = await starts.at(FromOldest(), everything, not_before_us=earliest_us)
    resumed = await starts.at(AfterId(log.epoch, 1), everything, not_before_us=earliest_us)

    assert (oldest, oldest.told) == (Start(3), 8)
    assert (resumed, resumed.told) == (Start(3), 0)
