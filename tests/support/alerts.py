"""A hub that watches, in the time of the mock clock: a log in memory with a broker, consumers and alerts."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import trio

from hookbot.access.sources import Source
from hookbot.alerts.backlogs import BacklogRule
from hookbot.alerts.marks import MARK, UP, Mark
from hookbot.alerts.subjects import ALERTS
from hookbot.alerts.watching import Alerts
from hookbot.broker.broker import Broker, open_broker
from hookbot.broker.consumers import Consumers, open_consumers
from hookbot.log.contract import Log
from hookbot.log.memory import MemoryLog
from hookbot.log.trusted_clock import TrustedClock
from hookbot.protocol.message import Draft, Message, Verified, wall_clock_us
from hookbot.protocol.topics import TopicFilter
from hookbot.signatures import load_provider
from support.clock import Clock, pass_time, trusted
from support.consumers import ConsumerHub

EVERY_S = 20 * 60
SHOP = "/unsafe/shop/"


def source(topic: str = SHOP, *, every_s: int | None = EVERY_S) -> Source:
    return Source(topic, load_provider("github"), ("secret",), expect_every_s=every_s)


class WatchingHub(ConsumerHub):
    """A hub that watches these sources, and by these rules."""

    def __init__(
        self, broker: Broker, consumers: Consumers, sources: list[Source], rules: Sequence[BacklogRule]
    ) -> None:
        super().__init__(broker, consumers, broker.log)
        self.sources = sources
        self.alerts = Alerts(broker, consumers, lambda: self.sources, rules)

    async def deliver(self, topic: str = f"{SHOP}x", by: str | None = SHOP, **fields: Any) -> Message:
        """A message, verified by the source with the topic `by`, if it is from one."""
        verified = Verified("github", "0", source=by) if by else None
        message = await self.broker.publish(Draft(topic, verified=verified, **fields))
        assert isinstance(message, Message)
        return message

    async def messages(self) -> list[Message]:
        """The messages of all alerts that were ever published."""
        found: list[Message] = []
        position = 0
        while position < self.log.head:
            page = await self.log.read(TopicFilter((ALERTS,)), after=position, limit=1000, max_bytes=1 << 20)
            found, position = [*found, *page.messages], page.next_after
        return found

    async def told(self) -> list[dict[str, Any]]:
        return [json.loads(message.body) for message in await self.messages()]

    async def states(self) -> list[tuple[str, str]]:
        return [(one["name"], one["state"]) for one in await self.told()]

    async def after(self, seconds: float) -> list[tuple[str, str]]:
        """All alerts that were ever published, once this time has passed."""
        await pass_time(seconds)
        return await self.states()


@asynccontextmanager
async def watching(
    log: Any, wall: Clock, *sources: Source, rules: Sequence[BacklogRule] = (), clock: TrustedClock | None = None
) -> AsyncIterator[WatchingHub]:
    """A hub that watches until the block ends; with the same log, it is the same hub after a restart."""
    async with (
        open_broker(log, clock_us=clock or trusted(wall)) as broker,
        open_consumers(broker, clock_us=broker.clock) as consumers,
        trio.open_nursery() as nursery,
    ):
        hub = WatchingHub(broker, consumers, list(sources), rules)
        nursery.start_soon(hub.alerts.run)
        yield hub
        nursery.cancel_scope.cancel()


async def until_watched(broker: Broker) -> None:
    """Return after the first look at a source, from which its silence counts if it was never heard."""
    while not await broker.log.cursors("alert source "):
        await trio.sleep(0.01)


async def fall_silent(opening: AbstractAsyncContextManager[Log], topic: str) -> None:
    """Have a log know that a source was last heard two days ago, as if a hub had been up since."""
    now_us = wall_clock_us()
    marks = {f"source {topic}": Mark(now_us - 2 * 86_400_000_000), UP: Mark(now_us)}
    async with opening as log:
        await log.append([], cursors={MARK + key: mark.noted for key, mark in marks.items()})


def new_log(wall: Clock) -> MemoryLog:
    return MemoryLog(clock_us=wall)
