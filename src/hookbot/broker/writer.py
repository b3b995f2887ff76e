"""The writer: the only task that appends to the log and deletes from it.

Drafts are queued, and those that wait share a commit. Retention runs in the same task, in small steps between commits.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import trio

from ..errors import Damaged, Unavailable
from ..log.contract import Log, NewPosition
from ..log.deduplication import Outcome
from ..log.retention import Retention
from ..log.trusted_clock import TrustedClock
from ..protocol.message import Draft
from .limits import BrokerLimits

# Retention may be a second late: more often would cost a commit for a few messages each time.
TRIM_INTERVAL_S = 1.0

logger = logging.getLogger(__package__)

Done = Callable[[Sequence[Outcome] | Unavailable], None]


@dataclass(frozen=True, slots=True)
class _Waiting:
    drafts: Sequence[Draft]
    cursors: Mapping[str, NewPosition]
    size: int
    done: Done


class _Queue:
    """Submissions that wait, with bounds on their size in all and on what is taken at once; one alone may be larger."""

    def __init__(self, max_bytes: int, batch_bytes: int) -> None:
        self.waiting: deque[_Waiting] = deque()
        self._max_bytes = max_bytes
        self._batch_bytes = batch_bytes
        self._bytes = 0

    def add(self, waiting: _Waiting) -> None:
        """Append a submission. Raises `Unavailable` if the queue is full."""
        # An empty queue takes any size: larger drafts than the whole queue would otherwise never be stored.
        if self._bytes and self._bytes + waiting.size > self._max_bytes:
            raise Unavailable("too many messages are waiting to be stored; try again later")
        self.waiting.append(waiting)
        self._bytes += waiting.size

    def take(self) -> Iterator[_Waiting]:
        """Take the first submissions, as many as fit in a batch."""
        size = 0
        while self.waiting and (not size or size + self.waiting[0].size <= self._batch_bytes):
            waiting = self.waiting.popleft()
            self._bytes -= waiting.size
            size += waiting.size
            yield waiting


class Writer:
    """Queues of drafts, appended to the log in batches; then publishers are answered and the messages announced.

    Drafts for which nobody vouches have a queue of their own, and small batches: they neither fill the queue of the
    others nor make them wait for more than one such batch.
    """

    def __init__(
        self,
        log: Log,
        retention: Retention,
        announce: Callable[[Sequence[Outcome]], None],
        clock_us: Callable[[], int],
        limits: BrokerLimits,
    ) -> None:
        self._log = log
        self._retention = retention
        self._announce = announce
        self._clock = TrustedClock.of(clock_us)
        self._queue = _Queue(limits.queue_bytes, limits.batch_bytes)
        self._unverified = _Queue(limits.unverified_queue_bytes, limits.unverified_batch_bytes)
        self._next: _Queue = self._queue
        """Queue of which the next batch is, unless it is empty."""
        self._batch: deque[_Waiting] = deque()
        """Batch that is being written."""
        self._news = trio.Event()
        self._closing = False
        self._storing = _Work("storing messages")
        self._storing_damaged = _Work("storing what touches a damaged part of the log")
        self._trimming = _Work("deleting messages by retention")

    def submit(self, drafts: Sequence[Draft], done: Done, *, cursors: Mapping[str, NewPosition]) -> None:
        """Queue drafts and cursors (None: delete), to be stored together in one commit.

        `done` is called once, in the writer's task, with the outcomes of the drafts or with `Unavailable`. It must not
        raise, which would end the writer. Raises `Unavailable` at once if the queue is full or the hub is shutting
        down.
        """
        size = sum([draft.size for draft in drafts])
        if self._closing:
            raise Unavailable("the hub is shutting down; try again")
        # A router commits its position with them: it has one batch at a time, and must not wait behind a flood.
        unverified = not cursors and all(draft.unverified for draft in drafts)
        (self._unverified if unverified else self._queue).add(_Waiting(drafts, cursors, size, done))
        self._news.set()

    def close(self) -> None:
        """Refuse further drafts; those in the queue are still stored."""
        self._closing = True
        self._news.set()

    async def run(self) -> None:
        """Write batches and apply retention until the writer is closed and its queue is empty.

        If it is cancelled or crashes, all drafts without an outcome get `Unavailable`. After a crash, those of the
        batch under way may be stored all the same.
        """
        next_trim = trio.current_time()
        try:
            while self._is_waiting or not self._closing:
                if self._is_waiting:
                    await self._write_batch()
                if trio.current_time() >= next_trim:
                    more = await self._trim()
                    next_trim = trio.current_time() + (0 if more else TRIM_INTERVAL_S)
                if not self._is_waiting and not self._closing:
                    self._news = trio.Event()
                    with trio.move_on_at(next_trim):
                        await self._news.wait()
        finally:
            # Also after a crash of the log, so that no publisher waits forever.
            self._closing = True
            _fail(self._batch, Unavailable("the hub failed while storing the message; try again"))
            for queue in (self._queue, self._unverified):
                _fail(queue.waiting, Unavailable("the hub is shutting down; try again"))

    @property
    def _is_waiting(self) -> bool:
        return bool(self._queue.waiting or self._unverified.waiting)

    async def _write_batch(self) -> None:
        self._fill_batch()
        await self._store(len(self._batch))

    async def _store(self, count: int) -> None:
        """Append the first submissions of the batch in one commit, or, if some touch damage, all but those."""
        try:
            outcomes = await self._append(islice(self._batch, count))
        except Damaged as error:
            self._storing_damaged.fails(error)
            if count == 1:
                self._batch.popleft().done(error)
                return
            await self._store(count // 2)
            await self._store(count - count // 2)
            return
        except Unavailable as error:
            self._storing.fails(error)
            for _ in range(count):
                self._batch.popleft().done(error)
            return
        self._storing.works()
        # Publishers are answered first: waking many subscriptions takes time.
        answers = iter(outcomes)
        for _ in range(count):
            waiting = self._batch.popleft()
            waiting.done([next(answers) for _ in waiting.drafts])
        self._announce(outcomes)

    def _fill_batch(self) -> None:
        """Take a batch of one queue, and then of the other: in a commit of both, each would wait for both."""
        other = self._unverified if self._next is self._queue else self._queue
        taken, self._next = (self._next, other) if self._next.waiting else (other, self._next)
        self._batch.extend(taken.take())

    async def _append(self, submissions: Iterable[_Waiting]) -> Sequence[Outcome]:
        batch = tuple(submissions)
        drafts = [draft for waiting in batch for draft in waiting.drafts]
        cursors = {name: position for waiting in batch for name, position in waiting.cursors.items()}
        return await self._log.append(drafts, cursors=cursors)

    async def _trim(self) -> bool:
        try:
            more = await self._log.trim(self._retention, now_us=self._now_us())
        except Unavailable as error:
            self._trimming.fails(error)
            return False
        self._trimming.works()
        return more

    def _now_us(self) -> int:
        """Time at which no message and no key is taken to be older than it is: see `TrustedClock.ago_us`."""
        ages_s = (self._retention.max_age_s, self._retention.dedup_s)
        ages_us = [int(age_s * 1_000_000) for age_s in ages_s if age_s is not None]
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
