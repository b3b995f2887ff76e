"""Supervision of a router in a hub: a task that takes messages, routes them, and is restarted after a crash."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Any, NoReturn

import trio

from ..backoff import Backoff
from ..broker.broker import Broker, Subscription
from ..broker.channels import Entry
from ..broker.duties import while_held
from ..broker.starts import Start
from ..broker.time_slices import TimeSlice
from ..errors import Superseded, Unavailable, describe
from ..log.contract import Move
from ..log.duties import OF_ROUTER, Held, Holder
from ..protocol.failures import failed_in
from ..protocol.message import Gap, Message, format_id
from ..protocol.topics import TopicFilter
from . import Router
from .attempts import RetryPolicy, RouterLimits, RouterStats
from .outbox import Outbox
from .runs import END_S, MAX_HANGING, LeftThreads, Run

IDLE_S = 60.0
"""Interval at which an idle router's position moves past messages of other topics, so that retention causes no gap."""

# A chance crash is over at once; a router that crashes at each start logs about two tracebacks a minute.
FIRST_RESTART_S = 0.5
LONGEST_RESTART_S = 60.0
# A database that was away is read again soon.
LONGEST_TAKE_S = 5.0

# So long after its limit a run may still last.
CHECK_S = 0.5

logger = logging.getLogger(__package__)


class SupervisedRouter:
    """Supervisor of a router until the hub ends, which restarts it after a crash. Its position is a cursor in the log.

    It runs while its hub holds the duty of that cursor's name, so that only one hub of a family runs it. All that the
    router publishes for one message is stored in one commit with its new position.
    """

    def __init__(
        self, broker: Broker, name: str, make: Callable[[], Awaitable[Router]], limits: RouterLimits, position: int
    ) -> None:
        self.name = name
        self.topics: Sequence[str] = ()
        self.stats = RouterStats()
        self._broker = broker
        self._make = make
        self._outbox = Outbox(broker, OF_ROUTER + name, position)
        self._time_slice = TimeSlice(broker.line)
        self._retries = RetryPolicy(name, limits, self.stats, self._time_slice)
        self.runs = Runs(name, self._retries, self.stats)
        self._idle: Subscription | None = None
        """Subscription of the router, while it waits for a message."""
        self._holder = ""
        """Address or id of the hub that runs it, while this one is on standby."""
        self._may_have_moved = False
        """True once the saved position may be another one than that of the outbox."""

    async def run(self) -> None:
        """Run the router until cancelled; errors of the router are logged, never raised."""
        await while_held(self._broker.log.duties, OF_ROUTER + self.name, self._run_held, waiting=self._stand_by)

    @property
    def lag(self) -> int:
        """Positions of any topic from the committed one to the head of the log; 0 if it is idle and has caught up.

        Also 0 on standby: only the hub that runs the router knows. What another hub has committed may be ahead of what
        this one has announced.
        """
        return 0 if self.stats.state == "standby" else max(0, self._broker.head - self._done)

    def snapshot(self) -> dict[str, Any]:
        """State and counters, as a JSON object."""
        return {
            "name": self.name,
            "topics": list(self.topics),
            "position": format_id(self._broker.log.epoch, self._outbox.committed),
            "lag": self.lag,
            "hanging": self.runs.hanging,
            "holder": self._holder,
            **asdict(self.stats),
        }

    async def _run_held(self, held: Held) -> None:
        self.stats.state, self._holder = "starting", ""
        if self._may_have_moved:
            positions = await saved_positions(self._broker, [self.name])
            self._outbox = Outbox(self._broker, OF_ROUTER + self.name, positions[self.name])
        self._may_have_moved = True
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._commit_until_superseded, nursery.cancel_scope)
                nursery.start_soon(self._keep_moving)
                await self.runs.repeat(self._run_once)
        finally:
            self.stats.state = "starting"

    def _stand_by(self, holder: Holder) -> None:
        self.stats.state, self._holder = "standby", holder.url or holder.hub
        self._may_have_moved = True

    async def _commit_until_superseded(self, scope: trio.CancelScope) -> None:
        await self._outbox.run()
        scope.cancel()

    async def _run_once(self, run: Run) -> None:
        async with run.entered(self._make) as router:
            self.topics = tuple(router.topics)
            with self._broker.subscribe(TopicFilter(tuple(self.topics)), Start(self._outbox.position)) as subscription:
                self.stats.state = "running"
                while True:
                    items = await self._take(subscription)
                    self._time_slice.begin()
                    for item in items:
                        await self._time_slice.yield_if_over()
                        await self._handle(router, item, run)

    async def _take(self, subscription: Subscription) -> Sequence[Entry | Gap]:
        self._idle = subscription
        backoff = Backoff(FIRST_RESTART_S / 2, LONGEST_TAKE_S)
        try:
            while True:
                try:
                    return await subscription.take()
                # No fault of the router, which need not be made again for it.
                except Unavailable as error:
                    delay_s = backoff.next_s()
                    logger.warning("router %s: nothing to read, trying again in %.1f s: %s", self.name, delay_s, error)
                    await trio.sleep(delay_s)
        finally:
            self._idle = None

    @property
    def _done(self) -> int:
        """Position up to which everything is routed and committed, past messages of other topics if it is idle."""
        committed = self._outbox.committed
        return self._idle.skip_unwanted() if self._idle and committed == self._outbox.position else committed

    async def _keep_moving(self) -> None:
        while True:
            await trio.sleep(IDLE_S)
            if self._done > self._outbox.position:
                await self._outbox.put([], self._done)

    async def _handle(self, router: Router, item: Entry | Gap, run: Run) -> None:
        if isinstance(item, Gap):
            self.stats.gaps += 1
            logger.warning("router %s missed the messages before %s (%s)", self.name, item.before, item.reason)
        elif self._is_its_own(item.message):
            await self._outbox.put([], item.position)
        else:
            published = await self._retries.route(router, item.message, run)
            await self._outbox.put(list(published.values()), item.position)

    def _is_its_own(self, message: Message) -> bool:
        return self.name in message.hops or failed_in(message.topic) == self.name


async def saved_positions(broker: Broker, names: Sequence[str]) -> dict[str, int]:
    """Saved positions of routers; that of a new one is the head of the log, and is saved before this returns.

    Raises `Unavailable` if the log fails.
    """
    while True:
        saved = {cursor.name.removeprefix(OF_ROUTER): cursor.position for cursor in await broker.log.cursors(OF_ROUTER)}
        new = {name: broker.head for name in names if name not in saved}
        # Superseded if another hub has saved one of them meanwhile.
        with suppress(Superseded):
            if new:
                await broker.commit(
                    [], cursors={OF_ROUTER + name: Move(None, position) for name, position in new.items()}
                )
            return saved | new


class Runs:
    """The runs of a router, one after the other. Errors of the router are logged, never raised."""

    def __init__(self, name: str, retries: RetryPolicy, stats: RouterStats) -> None:
        self.end_by_s = 0.0
        """Time, on Trio's clock, until which the router may take to end when it is cancelled; at least `END_S`."""
        self._name = name
        self._retries = retries
        self._stats = stats
        self._abandoned: list[Run] = []
        self._threads = LeftThreads()

    @property
    def hanging(self) -> int:
        """Number of abandoned runs, and of threads left behind, that have not ended yet."""
        self._abandoned = [run for run in self._abandoned if not run.ended.is_set()]
        return len(self._abandoned) + len(self._threads)

    async def repeat(self, function: Callable[[Run], Awaitable[None]]) -> NoReturn:
        """Run the router, and again after each crash, with exponential backoff, until cancelled."""
        # The bound doubles from the first failure on: half of it gives delays up to 0.5 s, then 1 s, 2 s and so on.
        backoff = Backoff(FIRST_RESTART_S / 2, LONGEST_RESTART_S)
        while True:
            started = trio.current_time()
            crash = await self._until_crash(function)
            delay_s = backoff.next_s(lasted_s=trio.current_time() - started)
            self._stats.state, self._stats.error = "waiting for restart", describe(crash)
            logger.error(
                "router %s crashed, restarting in %.1f s: %s",
                self._name,
                delay_s,
                self._stats.error,
                exc_info=crash,
                extra={"router": self._name},
            )
            await trio.sleep(delay_s)
            while self.hanging >= MAX_HANGING:
                self._stats.state = "stopped"
                await trio.sleep(CHECK_S)
            self._stats.restarts += 1

    async def _until_crash(self, function: Callable[[Run], Awaitable[None]]) -> BaseException:
        run = Run(self._threads)
        run.start(self._name, function)
        try:
            while not run.ended.is_set() and trio.current_time() < run.expires:
                with trio.move_on_after(CHECK_S):
                    await run.ended.wait()
        except trio.Cancelled:
            await run.end(max(END_S, self.end_by_s - trio.current_time()))
            self._note_if_abandoned(run)
            raise
        if run.crash is not None:
            return run.crash
        await run.end(END_S)
        self._note_if_abandoned(run)
        self._retries.abandon()
        return TimeoutError("it did not end within its limit")

    def _note_if_abandoned(self, run: Run) -> None:
        if run.abandoned:
            self._abandoned.append(run)
            self._stats.abandoned += 1
            logger.error("router %s does not end when it is told to: it is abandoned, and still runs", self._name)
