"""A broker with consumers, over any log, and shorthands for the actions of its clients."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import Any

import trio

from hookbot.broker.broker import Broker, open_broker
from hookbot.broker.channels import Entry
from hookbot.broker.consumers import Consumers, open_consumers
from hookbot.broker.cursors import CursorConsumer
from hookbot.broker.group import Member
from hookbot.broker.limits import BrokerLimits
from hookbot.errors import Unavailable
from hookbot.log.contract import Log, Page, Stored, Unit
from hookbot.log.memory import MemoryLog
from hookbot.log.retention import Retention
from hookbot.protocol.message import Draft, Gap, Message, format_id
from hookbot.protocol.subscribe import SubscribeRequest
from hookbot.protocol.topics import TopicFilter
from support import GUARD_S
from support.clock import START_US, Clock

KEEP_ALL = Retention(max_age_s=None, max_bytes=None, max_unsafe_bytes=None)


class WorkingLog(MemoryLog):
    """A log in memory that counts the commits of cursors, and fails when it is told to."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.cursor_commits = 0
        self.broken = False

    def store(self, units: Sequence[Unit], done: Stored) -> None:
        if self.broken:
            done(Unavailable("the disk is full"))
            return
        self.cursor_commits += any(unit.cursors for unit in units)
        super().store(units, done)

    async def read(self, *args: Any, **options: Any) -> Page:
        if self.broken:
            await trio.lowlevel.checkpoint()
            raise Unavailable("the disk is gone")
        return await super().read(*args, **options)


class ConsumerHub:
    """A broker with consumers."""

    def __init__(self, broker: Broker, consumers: Consumers, log: Any) -> None:
        self.broker = broker
        self.log = log
        self.consumers = consumers

    async def publish(self, *topics: str, size: int | None = None) -> list[Message]:
        """Messages whose bodies count them: ``b"1"`` is the first of the log."""
        messages = []
        for topic in topics:
            body = str(self.log.head + 1).encode()
            message = await self.broker.publish(Draft(topic, body.ljust(size or 0)))
            assert isinstance(message, Message)
            messages.append(message)
        return messages

    async def trim(self, count: int) -> None:
        """Let retention take all but the newest `count` messages."""
        while await self.log.trim(replace(KEEP_ALL, max_count=count), now_us=START_US):
            pass

    def id(self, position: int) -> str:
        return format_id(self.log.epoch, position)

    def open(self, topic: str = "t", **asked: Any) -> AbstractAsyncContextManager[Any]:
        return self.consumers.open(listening(topic, **asked))

    async def saved(self, kind: str = "cursor") -> dict[str, int]:
        """Positions of all cursors that the log has stored."""
        return {cursor.name: cursor.position for cursor in await self.log.cursors(f"{kind} ")}


def join(hub: ConsumerHub, topic: str = "t", **asked: Any) -> AbstractAsyncContextManager[Any]:
    """Membership of the group `g`."""
    return hub.open(topic, group="g", **asked)


def listening(topic: str = "t", **asked: Any) -> SubscribeRequest:
    return SubscribeRequest(TopicFilter.parse(topic), path=f"/sub/{topic}", topic=topic, format="v1", **asked)


@asynccontextmanager
async def open_hub(
    log: Log, *, clock: Callable[[], int] | None = None, limits: BrokerLimits | None = None, **options: Any
) -> AsyncIterator[ConsumerHub]:
    async with (
        open_broker(log, KEEP_ALL, limits=limits) as broker,
        open_consumers(broker, clock_us=clock or Clock(runs=True), **options) as consumers,
    ):
        yield ConsumerHub(broker, consumers, log)


def shown(items: Sequence[Entry | Gap] | None) -> list[Any]:
    """Numbers of messages, and gaps as (after, before)."""
    return [
        (item.after and int(item.after[-15:]), int(item.before[-15:])) if isinstance(item, Gap) else number(item)
        for item in items or ()
    ]


def number(entry: Entry) -> int:
    return int(entry.message.body)


async def take(consumer: CursorConsumer | Member, count: int) -> list[Any]:
    """The next `count` items, shown."""
    taken: list[Any] = []
    with trio.fail_after(GUARD_S):
        while len(taken) < count:
            taken += shown(await consumer.take())
    return taken


async def take_marked(member: Member, count: int) -> list[tuple[int, bool]]:
    """The next messages, and whether each comes again."""
    taken: list[tuple[int, bool]] = []
    with trio.fail_after(GUARD_S):
        while len(taken) < count:
            entries = [item for item in await member.take() if isinstance(item, Entry)]
            taken += [(number(entry), entry.message.redelivered) for entry in entries]
    return taken


async def takes_nothing(consumer: CursorConsumer | Member) -> bool:
    """True if the session waits although all tasks that could wake it have run."""
    with trio.move_on_after(1) as scope:
        await consumer.take()
    return scope.cancelled_caught


def ack(consumer: CursorConsumer, hub: ConsumerHub, position: int) -> None:
    consumer.ack({"type": "ack", "id": hub.id(position)})


def ack_each(consumer: Member, hub: ConsumerHub, *positions: Any) -> None:
    consumer.ack({"type": "ack", "ids": [hub.id(position) for position in positions]})
