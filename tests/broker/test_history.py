"""Stored messages, without those that are stored later."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from hookbot.broker.broker import Broker, open_broker
from hookbot.broker.channels import Entry
from hookbot.broker.history import NewestMessages, StoredMessages
from hookbot.broker.limits import BrokerLimits
from hookbot.broker.starts import Start
from hookbot.log.contract import Page
from hookbot.log.memory import MemoryLog
from hookbot.log.retention import Retention
from hookbot.log.sqlite import open_sqlite_log
from hookbot.protocol.message import Draft, Gap, format_id
from hookbot.protocol.subscribe import SubscribeRequest
from hookbot.protocol.topics import TopicFilter
from support.damage import lose_bodies


@pytest.fixture
async def broker(limits: BrokerLimits) -> AsyncIterator[Broker]:
    async with open_broker(MemoryLog(), limits=limits) as broker:
        yield broker


async def publish(broker: Broker, count: int = 1, topic: str = "a") -> None:
    await broker.commit([Draft(topic) for _ in range(count)])


with_small_pages = pytest.mark.parametrize("limits", [BrokerLimits(page_messages=7)])


def request(limit: int | None = None) -> SubscribeRequest:
    return SubscribeRequest(TopicFilter.parse("a"), "/sub/a", "a", "jsonl", follow=False, limit=limit)


def shown(items: Sequence[Entry | Gap] | None) -> list[Any]:
    """Positions of messages, and gaps."""
    return [item if isinstance(item, Gap) else item.position for item in items or ()]


async def take_all(source: StoredMessages | NewestMessages) -> list[Any]:
    taken = []
    while (items := await source.take()) is not None:
        taken += shown(items)
    return taken


async def test_stored_messages_end_where_the_log_ended_when_they_were_asked_for(broker: Broker) -> None:
    await publish(broker, 10)
    await publish(broker, 5, topic="b")
    stored = StoredMessages(broker, request(), Start(3))

    await publish(broker, 5)

    assert await take_all(stored) == [4, 5, 6, 7, 8, 9, 10]
    assert stored.skip_unwanted() == 15


@pytest.mark.parametrize("kind", [StoredMessages, NewestMessages])
async def test_nothing_stored_ends_at_once(broker: Broker, kind: type[Any]) -> None:
    for topic in ("b", "b", "c"):
        assert await take_all(kind(broker, request(), Start(0))) == []
        await publish(broker, topic=topic)

    assert await take_all(kind(broker, request(), Start(3))) == []


@with_small_pages
async def test_all_pages_of_what_is_stored_are_read(broker: Broker) -> None:
    await publish(broker, 100)

    assert await take_all(StoredMessages(broker, request(), Start(0))) == list(range(1, 101))


@with_small_pages
async def test_a_hole_that_opens_while_what_is_stored_is_read_is_told(broker: Broker) -> None:
    await publish(broker, 100)
    stored = StoredMessages(broker, request(), Start(0))
    assert shown(await stored.take()) == list(range(1, 8))

    await broker.log.trim(Retention(max_count=3), now_us=0)

    gap = Gap("retention", format_id(broker.log.epoch, 7), format_id(broker.log.epoch, 98))
    assert await take_all(stored) == [gap, 98, 99, 100]


@pytest.mark.parametrize(("kind", "messages"), [(StoredMessages, [1, 2, 3]), (NewestMessages, [3, 2, 1])])
async def test_the_gap_of_the_start_comes_first(broker: Broker, kind: type[Any], messages: list[int]) -> None:
    await publish(broker, 3)
    gap = Gap("other-log", None, format_id(broker.log.epoch, 1))

    assert await take_all(kind(broker, request(), Start(0, gap))) == [gap, *messages]


@with_small_pages
async def test_the_newest_come_first_page_by_page(broker: Broker) -> None:
    await publish(broker, 20)
    await publish(broker, 5, topic="b")
    newest = NewestMessages(broker, request(), Start(0))

    await publish(broker, 5)

    assert await take_all(newest) == list(range(20, 0, -1))
    assert await take_all(NewestMessages(broker, request(), Start(12))) == [30, 29, 28, 27, 26, *range(20, 12, -1)]


class CountingLog(MemoryLog):
    """A log that counts the messages of each page that is read."""

    def __init__(self) -> None:
        super().__init__()
        self.reads: list[int] = []

    async def read(self, wanted: TopicFilter, **how: Any) -> Page:
        page = await super().read(wanted, **how)
        self.reads.append(len(page.messages))
        return page


async def test_the_newest_message_of_a_topic_is_one_small_read() -> None:
    log = CountingLog()
    async with open_broker(log) as broker:
        await publish(broker, 1000)

        assert shown(await NewestMessages(broker, request(limit=1), Start(0)).take()) == [1000]

    assert log.reads == [1]


async def test_backwards_nothing_after_the_start_is_ever_complete(broker: Broker) -> None:
    await publish(broker, 10)
    newest = NewestMessages(broker, request(), Start(3))

    await newest.take()

    assert newest.skip_unwanted() == 3


@pytest.mark.parametrize(
    ("kind", "taken"),
    [
        (StoredMessages, [1, 2, "3-5", 6, "7", 8, 9]),
        (NewestMessages, [9, 8, "7", 6, "3-5", 2, 1]),
    ],
)
async def test_damaged_messages_are_a_gap_in_either_direction(
    tmp_path: Path, kind: type[StoredMessages | NewestMessages], taken: list[int | str]
) -> None:
    async with open_sqlite_log(tmp_path) as log, open_broker(log) as broker:
        await publish(broker, 9)
        lose_bodies(tmp_path, 3, 4, 5, 7)

        found = await take_all(kind(broker, request(), Start(0)))

    gaps = {
        "3-5": Gap("damage", format_id(log.epoch, 2), format_id(log.epoch, 6)),
        "7": Gap("damage", format_id(log.epoch, 6), format_id(log.epoch, 8)),
    }
    assert found == [gaps.get(str(item), item) for item in taken]


async def test_damage_behind_what_retention_takes_meanwhile_is_told_after_it(tmp_path: Path) -> None:
    async with open_sqlite_log(tmp_path) as log, open_broker(log) as broker:
        await publish(broker, 9)
        stored = StoredMessages(broker, request(), Start(0))
        lose_bodies(tmp_path, 1, 2, 3, 4, 5)
        read = log.read

        async def read_slowly(*args: Any, **options: Any) -> Page:
            page = await read(*args, **options)
            await log.trim(Retention(max_count=6), now_us=0)
            return page

        log.read = read_slowly  # type: ignore[method-assign]

        assert await take_all(stored) == [
            Gap("retention", None, format_id(log.epoch, 4)),
            Gap("damage", format_id(log.epoch, 3), format_id(log.epoch, 6)),
            6,
            7,
            8,
            9,
        ]
