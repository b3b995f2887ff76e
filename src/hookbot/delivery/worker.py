"""A worker: messages handled several at once, those of one topic one after the other, each until it is done."""

import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import count
from math import inf

import trio

from ..backoff import Backoff
from ..client import Gap
from ..errors import HookbotError
from ..protocol.message import Message
from .dead_letters import DeadLetters, NoDeadLetters
from .shutdown import Stop

MAX_HELD = 1000  # as many as a hub sends ahead of what is acknowledged
MAX_HELD_BYTES = 64 << 20

logger = logging.getLogger("hookbot.handling")


class Failed(Exception):
    """An attempt that came to nothing, and why. `retry_after_s` is what the other side asked for."""

    def __init__(self, why: str, *, retry_after_s: float = 0) -> None:
        super().__init__(why)
        self.retry_after_s = retry_after_s


Work = Callable[[Message, int], Awaitable[str]]
"""An attempt at a message, counting from 1: returns how it went in a few words, or raises `Failed`.

When it is cancelled, nothing of it may go on."""


@dataclass(frozen=True, slots=True)
class Policy:
    """Rules of a worker: which messages it handles, in which order, and how often it tries."""

    hop: str
    """What has this among its hops has been here before: it went in a circle."""
    wanted: Callable[[Message], bool] = lambda message: True
    limit: int | None = None
    """How many to handle."""
    concurrency: int = 1
    in_order: bool = True
    """Whether the messages of a topic wait for each other."""
    latest_only: bool = False
    """Whether, of several that wait on a topic, only the newest is handled."""
    max_attempts: int | None = None
    dead_letters: DeadLetters = field(default_factory=NoDeadLetters)


@dataclass(slots=True)
class Totals:
    """Counts of what became of the messages."""

    done: int = 0
    failed: int = 0
    """Given up, and kept elsewhere."""
    skipped: int = 0
    """Not wanted, not the latest, or gone in a circle."""
    gaps: int = 0


@dataclass(slots=True)
class _Lane:
    """Queue of one topic, behind what is in hand."""

    waiting: deque[Message] = field(default_factory=deque)
    changed: trio.Event = field(default_factory=trio.Event)

    def wake(self) -> None:
        self.changed.set()
        self.changed = trio.Event()


class Worker:
    """Handles what a subscription brings, and acknowledges it when it is done, or kept elsewhere for good.

    What fails is tried again after growing delays, up to `max_attempts`; meanwhile the messages of its topic wait, and
    those of others do not. Whatever is read ahead and not acknowledged stays with the hub's cursor.
    """

    def __init__(self, work: Work, policy: Policy, ack: Callable[[Message], None]) -> None:
        self.totals = Totals()
        self._work = work
        self._policy = policy
        self._ack = ack
        self._limiter = trio.CapacityLimiter(policy.concurrency)
        self._reading = trio.CancelScope()
        self._lanes: dict[str, _Lane] = {}
        self._held = self._held_bytes = 0
        self._room = trio.lowlevel.ParkingLot()
        self._leaving = False
        self._failure: HookbotError | None = None

    async def run(self, messages: AsyncIterator[Message | Gap], stop: Stop) -> None:
        """Work until the messages end, or it is time to leave: then what is in hand is finished, and nothing begun.

        Raises what the subscription raises, and what the dead letters raise.
        """
        with stop.gently(self._leave):
            async with trio.open_nursery() as nursery:
                with self._reading:
                    await self._read(messages, nursery)
        if self._failure:
            raise self._failure

    async def _read(self, messages: AsyncIterator[Message | Gap], nursery: trio.Nursery) -> None:
        left = inf if self._policy.limit is None else self._policy.limit
        try:
            while left > 0 and (item := await anext(messages, None)):
                if isinstance(item, Gap):
                    self.totals.gaps += 1
                    logger.warning("messages before %s are missing (%s)", item.before, item.reason)
                elif self._is_to_be_handled(item):
                    left -= 1
                    await self._put(item, nursery)
                else:
                    self._skip(item)
        except HookbotError as error:  # what is in hand may be finished all the same
            self._end(error)

    def _is_to_be_handled(self, message: Message) -> bool:
        if self._policy.hop in _hops(message):
            logger.warning("%s %s went in a circle: it was here before", message.topic, message.id)
            return False
        return self._policy.wanted(message)

    async def _put(self, message: Message, nursery: trio.Nursery) -> None:
        key = message.topic if self._policy.in_order or self._policy.latest_only else message.id
        lane = self._lanes.get(key)
        if lane and self._policy.latest_only:
            self._skip_waiting(lane)
        while self._held >= MAX_HELD or self._held_bytes + message.size > max(MAX_HELD_BYTES, message.size):
            await self._room.park()
        self._held += 1
        self._held_bytes += message.size
        lane = self._lanes.get(key)  # the one from before may have come to its end
        if lane is None:
            lane = self._lanes[key] = _Lane()
            nursery.start_soon(self._run_lane, key, lane)
        lane.waiting.append(message)
        if self._policy.latest_only:
            lane.wake()

    async def _run_lane(self, key: str, lane: _Lane) -> None:
        while lane.waiting and not self._leaving:
            message = lane.waiting.popleft()
            await self._deal_with(message, lane)
            self._release(message)
        del self._lanes[key]

    async def _deal_with(self, message: Message, lane: _Lane) -> None:
        backoff = Backoff()
        for attempt in count(1):
            async with self._limiter:
                if self._is_over(message, lane):
                    return
                failure = await self._attempt(message, attempt)
            if failure is None:
                return
            if attempt == self._policy.max_attempts:
                await self._give_up(message, f"{failure} ({_times(attempt)})")
                return
            await self._wait(message, lane, failure, backoff.next_s(at_least_s=failure.retry_after_s))

    def _is_over(self, message: Message, lane: _Lane) -> bool:
        """Whether there is nothing left to do for a message that waits."""
        if self._is_superseded(lane):
            self._skip(message)
            return True
        return self._leaving

    async def _wait(self, message: Message, lane: _Lane, failure: Failed, delay_s: float) -> None:
        """Sleep until it is time for the next attempt, or there is none."""
        if self._leaving or self._is_superseded(lane):
            return
        logger.warning("%s %s: %s; trying again in %.1f s", message.topic, message.id, failure, delay_s)
        with trio.move_on_after(delay_s):
            await lane.changed.wait()

    def _is_superseded(self, lane: _Lane) -> bool:
        return self._policy.latest_only and bool(lane.waiting)

    async def _attempt(self, message: Message, attempt: int) -> Failed | None:
        try:
            outcome = await self._work(message, attempt)
        except Failed as failure:
            return failure
        except HookbotError as error:  # no message would do better
            self._end(error)
            return None
        logger.info("%s %s: %s", message.topic, message.id, outcome)
        self.totals.done += 1
        self._ack(message)
        return None

    async def _give_up(self, message: Message, why: str) -> None:
        try:
            place = await self._policy.dead_letters.take(message, why)
        except HookbotError as error:
            self._end(error)
            return
        logger.error("%s %s: %s; given up, and kept in %s", message.topic, message.id, why, place)
        self.totals.failed += 1
        self._ack(message)

    def _skip(self, message: Message) -> None:
        self.totals.skipped += 1
        self._ack(message)

    def _skip_waiting(self, lane: _Lane) -> None:
        while lane.waiting:
            message = lane.waiting.popleft()
            logger.info("%s %s: skipped, there is a newer one", message.topic, message.id)
            self._skip(message)
            self._release(message)

    def _release(self, message: Message) -> None:
        self._held -= 1
        self._held_bytes -= message.size
        self._room.unpark_all()

    def _end(self, error: HookbotError) -> None:
        self._failure = self._failure or error
        self._leave()

    def _leave(self) -> None:
        self._leaving = True
        self._reading.cancel()
        for lane in self._lanes.values():
            lane.wake()


def hop_name(kind: str, *of: str) -> str:
    """The name under which work adds itself to the hops of a message, so that it knows what comes back to it."""
    return f"{kind}-{sha256(chr(0).join(of).encode('utf-8', 'surrogateescape')).hexdigest()[:8]}"


def _hops(message: Message) -> set[str]:
    """Hops that the hub believes, and those that it does not, since a circle may go through unsafe topics."""
    return {*message.hops, *(hop.strip() for hop in (message.header("Hookbot-Hops") or "").split(","))}


def _times(attempts: int) -> str:
    return "1 attempt" if attempts == 1 else f"{attempts} attempts"
