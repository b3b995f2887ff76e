"""One router in a hub: a task that reads, routes, and comes back when it crashed."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import trio

from ..broker.broker import Broker, Start, Subscription
from ..broker.channels import Entry
from ..protocol.message import Gap, Message, format_id
from ..protocol.topics import TopicFilter
from . import Router
from .attempts import RetryPolicy, RouterLimits
from .failed import failed_in
from .loading import entered
from .outbox import Outbox
from .record import RouterStats
from .restarts import keep_running
from .turn import TimeSlice

CURSORS = "router/"
SETTLE_S = 60.0
"""How often a quiet router's position is moved over what is not for it, lest retention overtakes it."""

logger = logging.getLogger(__name__)


class SupervisedRouter:
    """Runs a router for as long as the hub does, whatever the router does. Its position is a cursor in the log.

    What the router publishes for one message and its new position are one commit.
    """

    def __init__(
        self, broker: Broker, name: str, make: Callable[[], Router], limits: RouterLimits, position: int
    ) -> None:
        self.name = name
        self.topics: Sequence[str] = ()
        self.record = RouterStats()
        self._broker = broker
        self._make = make
        self._outbox = Outbox(broker, CURSORS + name, position)
        self._turn = TimeSlice()
        self._attempts = RetryPolicy(name, limits, self.record, self._turn)
        self._waiting: Subscription | None = None
        """Set while it has nothing in hand."""

    async def run(self) -> None:
        """Never returns, and raises nothing that the router raised."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._outbox.run)
            await keep_running(self.name, self._run_once, self.record)

    @property
    def lag(self) -> int:
        """How many messages of the log it is not done with."""
        idle = self._outbox.committed == self._outbox.position
        return self._broker.head - (self._waiting.skip_unwanted() if self._waiting and idle else self._outbox.committed)

    def snapshot(self) -> dict[str, Any]:
        """How it is, as JSON."""
        return {
            "name": self.name,
            "topics": list(self.topics),
            "position": format_id(self._broker.log.epoch, self._outbox.committed),
            "lag": self.lag,
            **asdict(self.record),
        }

    async def _run_once(self) -> None:
        router = self._make()
        self.topics = tuple(router.topics)
        async with entered(router):
            with self._broker.subscribe(TopicFilter(tuple(self.topics)), Start(self._outbox.position)) as subscription:
                self.record.state = "running"
                while True:
                    for item in await self._take(subscription):
                        await self._turn.maybe_end()
                        await self._deal_with(router, item)

    async def _take(self, subscription: Subscription) -> Sequence[Entry | Gap]:
        self._waiting = subscription
        try:
            while True:
                with trio.move_on_after(SETTLE_S):
                    return await subscription.take()
                await self._outbox.put([], max(subscription.skip_unwanted(), self._outbox.position))
        finally:
            self._waiting = None

    async def _deal_with(self, router: Router, item: Entry | Gap) -> None:
        if isinstance(item, Gap):
            self.record.gaps += 1
            logger.warning("router %s missed what came before %s (%s)", self.name, item.before, item.reason)
        elif self._is_its_own(item.message):
            await self._outbox.put([], item.position)
        else:
            published = await self._attempts.route(router, item.message)
            await self._outbox.put(list(published.values()), item.position)

    def _is_its_own(self, message: Message) -> bool:
        return self.name in message.hops or failed_in(message.topic) == self.name
