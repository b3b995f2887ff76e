"""One router in a hub: a task that reads, routes, and is restarted when it crashes."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from typing import Any, NoReturn

import trio

from ..backoff import Backoff
from ..broker.broker import Broker, Start, Subscription
from ..broker.channels import Entry
from ..protocol.message import Gap, Message, format_id
from ..protocol.topics import TopicFilter
from . import Router
from .attempts import RetryPolicy, RouterLimits, RouterStats, describe, failed_in
from .loading import entered
from .outbox import Outbox, TimeSlice

PREFIX = "router/"
IDLE_S = 60.0
"""Interval at which an idle router's position moves over messages that are not for it, lest retention overtakes it."""

FIRST_RESTART_S = 0.5
LONGEST_RESTART_S = 60.0

logger = logging.getLogger(__name__)
_restart_logger = logging.getLogger("hookbot.routers.restarts")


class SupervisedRouter:
    """Runs a router for as long as the hub runs, whatever the router does. Its position is a cursor in the log.

    What the router publishes for one message and its new position are one commit.
    """

    def __init__(
        self, broker: Broker, name: str, make: Callable[[], Router], limits: RouterLimits, position: int
    ) -> None:
        self.name = name
        self.topics: Sequence[str] = ()
        self.stats = RouterStats()
        self._broker = broker
        self._make = make
        self._outbox = Outbox(broker, PREFIX + name, position)
        self._time_slice = TimeSlice()
        self._retries = RetryPolicy(name, limits, self.stats, self._time_slice)
        self._idle: Subscription | None = None
        """The subscription, while the router has no message in hand."""

    async def run(self) -> None:
        """Never returns, and raises nothing that the router raised."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._outbox.run)
            await restart_forever(self.name, self._run_once, self.stats)

    @property
    def lag(self) -> int:
        """Messages of the log that it is not done with."""
        committed = self._outbox.committed
        if self._idle and committed == self._outbox.position:
            return self._broker.head - self._idle.skip_unwanted()
        return self._broker.head - committed

    def snapshot(self) -> dict[str, Any]:
        """Its state and counters, as JSON."""
        return {
            "name": self.name,
            "topics": list(self.topics),
            "position": format_id(self._broker.log.epoch, self._outbox.committed),
            "lag": self.lag,
            **asdict(self.stats),
        }

    async def _run_once(self) -> None:
        router = self._make()
        self.topics = tuple(router.topics)
        async with entered(router):
            with self._broker.subscribe(TopicFilter(tuple(self.topics)), Start(self._outbox.position)) as subscription:
                self.stats.state = "running"
                while True:
                    for item in await self._take(subscription):
                        await self._time_slice.yield_if_over()
                        await self._handle(router, item)

    async def _take(self, subscription: Subscription) -> Sequence[Entry | Gap]:
        self._idle = subscription
        try:
            while True:
                with trio.move_on_after(IDLE_S):
                    return await subscription.take()
                await self._outbox.put([], max(subscription.skip_unwanted(), self._outbox.position))
        finally:
            self._idle = None

    async def _handle(self, router: Router, item: Entry | Gap) -> None:
        if isinstance(item, Gap):
            self.stats.gaps += 1
            logger.warning("router %s missed what came before %s (%s)", self.name, item.before, item.reason)
        elif self._is_its_own(item.message):
            await self._outbox.put([], item.position)
        else:
            published = await self._retries.route(router, item.message)
            await self._outbox.put(list(published.values()), item.position)

    def _is_its_own(self, message: Message) -> bool:
        return self.name in message.hops or failed_in(message.topic) == self.name


async def restart_forever(name: str, run: Callable[[], Awaitable[None]], stats: RouterStats) -> NoReturn:
    """Restarts the router `name` with exponential backoff, whatever `run` raises but a cancellation."""
    # the bound doubles from the first failure on: half of it gives delays up to 0.5 s, then 1 s, 2 s and so on
    backoff = Backoff(FIRST_RESTART_S / 2, LONGEST_RESTART_S)
    while True:
        started = trio.current_time()
        crash = await _run_until_crash(run)
        delay_s = backoff.next_s(lasted_s=trio.current_time() - started)
        stats.state, stats.error = "waiting for restart", describe(crash)
        _restart_logger.error("router %s crashed, restart in %.1f s: %s", name, delay_s, stats.error, exc_info=crash)
        await trio.sleep(delay_s)
        stats.restarts += 1


async def _run_until_crash(run: Callable[[], Awaitable[None]]) -> BaseException:
    crashes: list[BaseException] = []

    async def note_crash() -> None:
        try:
            await run()
        except BaseException as error:
            crashes.append(error)
            raise

    try:
        async with trio.open_nursery() as nursery:  # a task of its own: what a router leaves behind ends with it
            nursery.start_soon(note_crash)
    except* (trio.Cancelled, KeyboardInterrupt):
        raise
    except* BaseException as group:
        crashes.append(group)
    return crashes[0]
