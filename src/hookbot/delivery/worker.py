"""Workers: several messages handled at once, those of a topic in order, each retried until it is done or given up."""

import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from dataclasses import dataclass, field
from hashlib import sha256
from math import inf

import trio

from ..backoff import Backoff
from ..client import Gap
from ..errors import HookbotError
from ..protocol.message import Message
from .dead_letters import DeadLetters, NoDeadLetters
from .observer import Observer
from .outcome import Attempt, Failed, Outcome, times
from .pause import Pause
from .shutdown import Stop

logger = logging.getLogger(__package__)


Work = Callable[[Message, int], Awaitable[Outcome]]
"""An attempt to handle a message; the number counts from 1. Raises `Failed` if it has failed.

Any other `HookbotError` ends the worker. After a cancellation, nothing of it may continue in the background."""


@dataclass(frozen=True, slots=True)
class Policy:
    """Rules of a worker: the messages that it handles, their order, and the number of attempts."""

    hop: str
    """Name of this worker in the hops of messages. A message that already has it is in a loop, and is skipped."""
    wanted: Callable[[Message], bool] = lambda message: True
    limit: int | None = None
    """Number of messages to handle before stopping."""
    concurrency: int = 1
    in_order: bool = True
    """Handle the messages of a topic one after the other."""
    latest_only: bool = False
    """Of the messages that wait on a topic, handle only the newest."""
    max_attempts: int | None = None
    give_up_on: Collection[str] = frozenset()
    """Results of attempts (`Outcome.result`) after which there is no other."""
    dead_letters: DeadLetters = field(default_factory=NoDeadLetters)
    backoff: Callable[[], Backoff] = Backoff
    """Factory of the delays between the attempts at one message."""
    # A hub sends no more than this many unacknowledged messages either.
    max_held: int = 1000
    """Maximum number of messages read and not finished, in hand or waiting."""
    max_held_bytes: int = 64 << 20
    """Maximum total size of these messages; a larger message is held alone."""


@dataclass(slots=True)
class Totals:
    """Numbers of messages by outcome, and of gaps."""

    done: int = 0
    failed: int = 0
    """Kept as dead letters."""
    skipped: int = 0
    """Not wanted, superseded by a newer one, or in a loop."""
    gaps: int = 0


@dataclass(slots=True)
class _Lane:
    """Queue of one topic, behind the message in hand. Without an order to keep, each message has its own."""

    waiting: deque[Message] = field(default_factory=deque)
    changed: trio.Event = field(default_factory=trio.Event)

    def wake(self) -> None:
        self.changed.set()
        self.changed = trio.Event()


class Worker:
    """A handler of the messages of a subscription: acknowledges each when it is done, skipped or kept as a dead letter.

    A failed message is retried after growing delays, up to `max_attempts`. Meanwhile the messages of its topic wait,
    unless `in_order` is False; those of other topics do not. Messages that are not acknowledged when the worker ends
    are delivered again, if the subscription has a cursor or a group.
    """

    def __init__(
        self, work: Work, policy: Policy, ack: Callable[[Message], None], observer: Observer | None = None
    ) -> None:
        self.totals = Totals()
        self.pause = Pause()
        """While it is on, no message is read and no attempt begins. Those in progress end as ever."""
        self._observer = observer or Observer()
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
        """Handle messages until they end. After a request to stop, finish the attempts in progress and begin no other.

        Raises the first `HookbotError` of the subscription, the work or the dead letters, after these attempts.
        """
        with stop.gently(self._leave):
            async with trio.open_nursery() as nursery:
                with self._reading:
                    await self._read(messages, nursery)
        if self._failure:
            raise self._failure

    def retry_now(self, message: Message) -> None:
        """Begin the next attempt at a message at once, if it waits for one."""
        if lane := self._lanes.get(self._key(message)):
            lane.wake()

    async def _read(self, messages: AsyncIterator[Message | Gap], nursery: trio.Nursery) -> None:
        left = inf if self._policy.limit is None else self._policy.limit
        try:
            while left > 0 and (item := await self.pause.next_of(messages)):
                if isinstance(item, Gap):
                    self.totals.gaps += 1
                    self._observer.missed(item)
                    logger.warning("messages before %s are missing (%s)", item.before, item.reason)
                elif self._is_to_be_handled(item):
                    left -= 1
                    await self._put(item, nursery)
                else:
                    self._skip(item)
        except HookbotError as error:
            # Raised at the end of `run`: here it would cancel the messages in hand.
            self._end(error)

    def _is_to_be_handled(self, message: Message) -> bool:
        if self._policy.hop in _hops(message):
            logger.warning(
                "%s %s skipped: it has passed through here before and came back in a loop", message.topic, message.id
            )
            return False
        return self._policy.wanted(message)

    async def _put(self, message: Message, nursery: trio.Nursery) -> None:
        key = self._key(message)
        lane = self._lanes.get(key)
        # Before waiting for room, since the skipped messages make room.
        if lane and self._policy.latest_only:
            self._skip_waiting(lane)
        while not self._has_room(message):
            await self._room.park()
        self._held += 1
        self._held_bytes += message.size
        self._observer.taken(message)
        # Looked up again: the lane may have ended during the wait for room.
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = _Lane()
            nursery.start_soon(self._run_lane, key, lane)
        lane.waiting.append(message)
        if self._policy.latest_only:
            lane.wake()

    def _key(self, message: Message) -> str:
        return message.topic if self._policy.in_order or self._policy.latest_only else message.id

    def _has_room(self, message: Message) -> bool:
        # A message larger than the limit is held, too, but alone.
        max_bytes = max(self._policy.max_held_bytes, message.size)
        return self._held < self._policy.max_held and self._held_bytes + message.size <= max_bytes

    async def _run_lane(self, key: str, lane: _Lane) -> None:
        while lane.waiting and not self._leaving:
            message = lane.waiting.popleft()
            await self._deal_with(message, lane)
            self._release(message)
        del self._lanes[key]

    async def _deal_with(self, message: Message, lane: _Lane) -> None:
        backoff = self._policy.backoff()
        attempt = 0
        while True:
            attempt += 1
            async with self._limiter:
                await self.pause.over()
                if self._is_over(message, lane):
                    return
                failure = await self._attempt(message, attempt)
            if failure is None:
                return
            if attempt == self._policy.max_attempts or failure.outcome.result in self._policy.give_up_on:
                await self._give_up(message, attempt, failure.outcome)
                return
            delay_s = backoff.next_s(at_least_s=failure.retry_after_s)
            await self._wait(lane, delay_s, Attempt(message, attempt, failure.outcome, delay_s, len(lane.waiting)))

    def _is_over(self, message: Message, lane: _Lane) -> bool:
        """True if no further attempt is to be made at the message in hand."""
        if self._is_superseded(lane):
            self._skip(message)
            return True
        return self._leaving

    async def _wait(self, lane: _Lane, delay_s: float, failed: Attempt) -> None:
        """Wait until the next attempt is due, or until none will be made."""
        if self._leaving or self._is_superseded(lane):
            return
        self._tell(failed)
        with trio.move_on_after(delay_s):
            await lane.changed.wait()

    def _is_superseded(self, lane: _Lane) -> bool:
        return self._policy.latest_only and bool(lane.waiting)

    async def _attempt(self, message: Message, attempt: int) -> Failed | None:
        self._observer.begun(message, attempt)
        try:
            outcome = await self._work(message, attempt)
        except Failed as failure:
            return failure
        except HookbotError as error:
            # It would be the same for every message, so the worker stops.
            self._end(error)
            return None
        self._tell(Attempt(message, attempt, outcome))
        self.totals.done += 1
        self._ack(message)
        return None

    async def _give_up(self, message: Message, attempt: int, outcome: Outcome) -> None:
        try:
            place = await self._policy.dead_letters.take(message, f"{outcome.line} ({times(attempt)})")
        except HookbotError as error:
            self._end(error)
            return
        self._tell(Attempt(message, attempt, outcome, kept_in=place))
        self.totals.failed += 1
        self._ack(message)

    def _tell(self, attempt: Attempt) -> None:
        level = logging.ERROR if attempt.kept_in else logging.WARNING if attempt.has_failed else logging.INFO
        logger.log(level, "%s", attempt, extra={"attempt": attempt})
        self._observer.ended(attempt)

    def _skip(self, message: Message) -> None:
        self.totals.skipped += 1
        self._ack(message)

    def _skip_waiting(self, lane: _Lane) -> None:
        while lane.waiting:
            message = lane.waiting.popleft()
            logger.info("%s %s skipped: there is a newer message", message.topic, message.id)
            self._skip(message)
            self._release(message)

    def _release(self, message: Message) -> None:
        self._held -= 1
        self._held_bytes -= message.size
        self._observer.released(message)
        self._room.unpark_all()

    def _end(self, error: HookbotError) -> None:
        self._failure = self._failure or error
        self._leave()

    def _leave(self) -> None:
        self._leaving = True
        self._reading.cancel()
        self.pause.end()
        for lane in self._lanes.values():
            lane.wake()


def hop_name(kind: str, *of: str) -> str:
    """Name of a worker in the hops of messages: the same for the same `kind` and `of`."""
    return f"{kind}-{sha256(chr(0).join(of).encode('utf-8', 'surrogateescape')).hexdigest()[:8]}"


def _hops(message: Message) -> set[str]:
    """Hops verified by the hub, and those that the header claims, since a loop may lead through unsafe topics."""
    return {*message.hops, *(hop.strip() for hop in (message.header("Hookbot-Hops") or "").split(","))}
