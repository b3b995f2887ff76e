"""The writer: the only one who appends to the log and deletes from it.

Drafts are queued, and those that wait share a commit. Retention runs in a task, in small steps between commits, at the
one hub of a family that has the duty.
"""

import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from time import perf_counter

import trio

from ..errors import Damaged, Unavailable
from ..log.contract import Log, Result, Unit
from ..log.deduplication import Outcome
from ..log.duties import TRIM
from ..log.retention import Retention
from ..log.trusted_clock import TrustedClock
from .counts import Counts
from .limits import BrokerLimits

# Retention may be a second late: more often would cost a commit for a few messages each time.
TRIM_INTERVAL_S = 1.0

logger = logging.getLogger(__package__)

Done = Callable[[Sequence[Outcome] | Unavailable], None]


@dataclass(slots=True)
class _Waiting:
    unit: Unit
    size: int
    done: Done


class _Queue:
    """Submissions that wait, with bounds on their size in all and on what is taken at once; one alone may be larger."""

    def __init__(self, max_bytes: int, batch_bytes: int) -> None:
        self.waiting: deque[_Waiting] = deque()
        self._max_bytes = max_bytes
        self._batch_bytes = batch_bytes
        self.bytes = 0

    def add(self, waiting: _Waiting) -> None:
        """Append a submission. Raises `Unavailable` if the queue is full."""
        # An empty queue takes any size: larger drafts than the whole queue would otherwise never be stored.
        if self.bytes and self.bytes + waiting.size > self._max_bytes:
            raise Unavailable("too many messages are waiting to be stored; try again later")
        self.waiting.append(waiting)
        self.bytes += waiting.size

    def take(self) -> Iterator[_Waiting]:
        """Take the first submissions, as many as fit in a batch."""
        size = 0
        while self.waiting and (not size or size + self.waiting[0].size <= self._batch_bytes):
            waiting = self.waiting.popleft()
            self.bytes -= waiting.size
            size += waiting.size
            yield waiting


class Writer:
    """Queues of units, stored by the log in batches; then publishers are answered, and the log tells of the messages.

    A log that needs no waiting has stored a batch when `flush` returns. While another one stores it, the next batch
    gathers. Drafts for which nobody vouches have a queue of their own, and small batches: they neither fill the queue
    of the others nor make them wait for more than one such batch.
    """

    def __init__(
        self,
        log: Log,
        retention: Retention,
        counts: Counts,
        clock_us: Callable[[], int],
        limits: BrokerLimits,
    ) -> None:
        self._log = log
        self.retention = retention
        self._counts = counts
        self._clock = TrustedClock.of(clock_us)
        self._queue = _Queue(limits.queue_bytes, limits.batch_bytes)
        self._unverified = _Queue(limits.unverified_queue_bytes, limits.unverified_batch_bytes)
        self._next: _Queue = self._queue
        """Queue of which the next batch is, unless it is empty."""
        self._batch: deque[_Waiting] = deque()
        """Submissions of the batch that is being stored, until they have their outcome."""
        self._parts: list[int] = []
        """Numbers of submissions in each commit of the batch, the first one last: one, if it touches no damage."""
        self._part_began = 0.0
        self._deletes = trio.Lock()
        """Held while something is deleted, or waits for the end of the batch: no other begins."""
        self._stored = trio.lowlevel.ParkingLot()
        self._news = trio.Event()
        self._closing = False
        self._ended = False
        self._crash: Exception | None = None
        self._storing = _Work("storing messages")
        self._storing_damaged = _Work("storing what touches a damaged part of the log")
        self._trimming = _Work("deleting messages by retention")

    def submit(self, unit: Unit, done: Done) -> None:
        """Queue a unit. Call `flush` after it.

        `done` is called once, in the event loop, with the outcomes of the drafts or with `Unavailable`. It must not
        raise, which would end the writer. Raises `Unavailable` at once if the queue is full or the hub is shutting
        down.
        """
        if self._closing:
            raise Unavailable("the hub is shutting down; try again")
        # A router commits its position with them: it has one batch at a time, and must not wait behind a flood.
        queue, size = self._queue if unit.cursors else self._unverified, 0
        for draft in unit.drafts:
            size += draft.size
            if not draft.unverified:
                queue = self._queue
        queue.add(_Waiting(unit, size, done))

    def flush(self) -> None:
        """Give the log the next batch, unless it has one, or retention is due.

        The writer's task flushes what is left: so no flood, and no `done` that submits again, holds up other tasks.
        """
        if not (self._parts or self._deletes.locked() or self._ended) and self._is_waiting:
            self._fill_batch()
            self._attempt(self._store_part)

    def flush_soon(self) -> None:
        """Have the writer's task `flush`."""
        self._news.set()

    @asynccontextmanager
    async def between_batches(self) -> AsyncIterator[None]:
        """Have nothing stored during the block, such as while something is deleted. Call `flush` after it."""
        async with self._deletes:
            await self._wait_until_stored()
            yield

    def close(self) -> None:
        """Refuse further drafts; those in the queue are still stored."""
        self._closing = True
        self._news.set()

    async def run(self) -> None:
        """Flush what `flush` has left, and apply retention, until the writer is closed and its queue is empty.

        If it is cancelled or crashes, all drafts without an outcome get `Unavailable`, those of the batch under way
        when that has ended. After a crash, some of them may be stored all the same.
        """
        next_trim = trio.current_time()
        try:
            while not self._crash and (self._is_waiting or self._parts or not self._closing):
                self._news = trio.Event()
                if trio.current_time() >= next_trim:
                    more = await self._trim()
                    next_trim = trio.current_time() + (0 if more else TRIM_INTERVAL_S)
                self.flush()
                with trio.move_on_at(next_trim):
                    await self._news.wait()
        finally:
            # Also after a crash of the log, so that no publisher waits forever.
            self._closing = self._ended = True
            for queue in (self._queue, self._unverified):
                _fail(queue.waiting, Unavailable("the hub is shutting down; try again"))
            with trio.CancelScope(shield=True):
                await self._wait_until_stored()
            _fail(self._batch, Unavailable("the hub failed while storing the message; try again"))
            if self._crash:
                raise self._crash

    @property
    def waiting(self) -> tuple[int, int]:
        """Number of submissions that wait to be stored, and their bytes."""
        number = len(self._queue.waiting) + len(self._unverified.waiting)
        return number, self._queue.bytes + self._unverified.bytes

    @property
    def _is_waiting(self) -> bool:
        return bool(self._queue.waiting or self._unverified.waiting)

    def _fill_batch(self) -> None:
        """Take a batch of one queue, and then of the other: in a commit of both, each would wait for both."""
        other = self._unverified if self._next is self._queue else self._queue
        taken, self._next = (self._next, other) if self._next.waiting else (other, self._next)
        self._counts.line_lengths.add(len(self._queue.waiting) + len(self._unverified.waiting))
        self._batch.extend(taken.take())
        self._parts = [len(self._batch)]

    def _store_part(self) -> None:
        units = [waiting.unit for waiting in islice(self._batch, self._parts[-1])]
        self._part_began = perf_counter()
        self._log.store(units, lambda results: self._attempt(partial(self._end_part, results)))

    def _end_part(self, result: Sequence[Result] | Exception) -> None:
        """Answer the submissions of a part that was stored, or was not; one that touches damage is divided first."""
        count = self._parts[-1]
        if isinstance(result, Damaged) and count > 1:
            self._storing_damaged.fails(result)
            self._parts[-1:] = [count - count // 2, count // 2]
        elif isinstance(result, Unavailable):
            (self._storing_damaged if isinstance(result, Damaged) else self._storing).fails(result)
            for _ in range(count):
                self._batch.popleft().done(result)
            self._parts.pop()
        elif isinstance(result, Exception):
            raise result
        else:
            self._storing.works()
            self._answer(result)
            self._parts.pop()
        if self._parts:
            self._store_part()
        else:
            self._stored.unpark_all()
            if self._is_waiting or self._closing:
                self._news.set()

    def _answer(self, results: Sequence[Result]) -> None:
        now, began = perf_counter(), self._batch[0].unit.began
        for result in results:
            self._batch.popleft().done(result)
        self._counts.count_commit(results, waited_s=now - began, took_s=now - self._part_began)

    def _attempt(self, step: Callable[[], None]) -> None:
        """Do a step of storing a batch. An error that nobody expected ends the writer's task, not the caller."""
        try:
            step()
        except Exception as error:  # noqa: BLE001
            self._crash, self._ended = error, True
            self._parts.clear()
            self._stored.unpark_all()
            self._news.set()

    async def _wait_until_stored(self) -> None:
        while self._parts:
            await self._stored.park()

    async def _trim(self) -> bool:
        if not self._log.duties.find(TRIM):
            return False
        try:
            async with self.between_batches():
                more = await self._log.trim(self.retention, now_us=self._now_us())
        except Unavailable as error:
            self._trimming.fails(error)
            return False
        self._trimming.works()
        return more

    def _now_us(self) -> int:
        """Time at which no message and no key is taken to be older than it is: see `TrustedClock.ago_us`."""
        ages_us = [int(age_s * 1_000_000) for age_s in self.retention.ages_s]
        return min(self._clock.ago_us(age_us) + age_us for age_us in ages_us)


class _Work:
    """Work that may fail for a while: its first failure and its recovery are logged, not each attempt."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._failing = False

    def fails(self, error: Unavailable) -> None:
        if not self._failing:
            logger.error("%s fails: %s", self._name, error)
        self._failing = True

    def works(self) -> None:
        if self._failing:
            logger.info("%s works again", self._name)
        self._failing = False


def _fail(queue: deque[_Waiting], error: Unavailable) -> None:
    while queue:
        queue.popleft().done(error)
