"""Backlogs: how far readers are behind, in messages of their own."""

from typing import Any

import trio
from trio.testing import MockClock

from hookbot.broker.backlogs import COUNT_LIMIT, COUNTING_S, Backlog, measure
from hookbot.broker.broker import open_broker
from hookbot.errors import Damaged, Unavailable
from hookbot.log.contract import Behind
from hookbot.log.memory import MemoryLog
from hookbot.protocol.message import Draft
from hookbot.protocol.topics import TopicFilter

A, B = TopicFilter(("a",)), TopicFilter(("b",))


class TroubledLog(MemoryLog):
    """A log in which counting after some positions takes as long as they say, or fails."""

    def __init__(self, **troubles: float | Exception) -> None:
        super().__init__()
        self.troubles = {int(name.removeprefix("after_")): trouble for name, trouble in troubles.items()}
        self.limits: set[int] = set()

    async def behind(self, wanted: TopicFilter, *, after: int, limit: int) -> Behind:
        self.limits.add(limit)
        trouble = self.troubles.get(after, 0)
        if isinstance(trouble, Exception):
            raise trouble
        await trio.sleep(trouble)
        return await super().behind(wanted, after=after, limit=limit)


async def measured(log: TroubledLog, *readers: tuple[TopicFilter, int]) -> list[int | None]:
    """How far each reader is behind, among three messages for `A`."""
    async with open_broker(log) as broker:
        await broker.commit([Draft("a")] * 3)
        backlogs = await measure(broker, readers)
    return [backlogs[reader].behind for reader in readers]


async def test_each_is_behind_by_messages_of_its_own_and_since_the_oldest_of_them() -> None:
    now_us = 50_000_000
    async with open_broker(MemoryLog(clock_us=lambda: now_us), clock_us=lambda: now_us) as broker:
        await broker.commit([Draft(topic) for topic in "aab"])
        broker.clock = lambda: now_us + 7_500_000  # type: ignore[assignment]
        backlogs = await measure(broker, [(A, 0), (A, 1), (A, 1), (B, 3)])

    assert backlogs == {(A, 0): Backlog(2, False, 7.5), (A, 1): Backlog(1, False, 7.5), (B, 3): Backlog(0, False, 0)}


async def test_no_count_goes_on_for_ever() -> None:
    log = TroubledLog()
    await measured(log, (A, 0))
    assert log.limits == {COUNT_LIMIT}


async def test_who_cannot_be_counted_in_time_is_who_is_the_least_behind(autojump_clock: MockClock) -> None:
    readers: list[Any] = [(A, 2), (A, 1), (A, 0)]
    assert await measured(TroubledLog(after_1=COUNTING_S), *readers) == [None, None, 3]


async def test_damage_hides_only_the_backlogs_that_it_is_in() -> None:
    assert await measured(TroubledLog(after_1=Damaged("garbled")), (A, 0), (A, 1), (A, 2)) == [3, None, 1]


async def test_a_log_that_fails_is_not_asked_for_every_reader() -> None:
    assert await measured(TroubledLog(after_1=Unavailable("it is down")), (A, 0), (A, 1), (A, 2)) == [3, None, None]
