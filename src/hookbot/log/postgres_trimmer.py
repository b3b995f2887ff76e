"""Retention of the PostgreSQL log, by the one hub that has the duty to trim.

It counts all messages when it has taken the duty over, and from then on adds those that it is told of: a total that
each batch had to write would be one more row that all hubs change.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import trio

from ..protocol.message import Message
from ..protocol.topics import is_unsafe
from .duties import TRIM, Duties, Held
from .postgres_queries import load_now
from .postgres_retention import count_none, count_on, forget_keys, trim_partition
from .postgres_writer import PostgresWriter
from .retention import PARTITIONS, Partition, Retention, RetentionLimits, Row

if TYPE_CHECKING:
    from psycopg import Connection

# Interval for looking for expired keys while no message is due.
REST_US = 60_000_000


class _Step(NamedTuple):
    partitions: list[Partition]
    now_us: int
    more: bool


class Trimmer:
    """What one hub knows of the totals of the log; `hub` is its id. `clock_us` replaces the server's clock."""

    def __init__(
        self,
        writer: PostgresWriter,
        duties: Duties,
        hub: str,
        told: Callable[[], int],
        clock_us: Callable[[], int] | None,
        scan_length: int,
    ) -> None:
        self._writer = writer
        self._duties = duties
        self._hub = hub
        self._told_up_to = told
        self._clock_us = clock_us
        self._scan_length = scan_length
        self._held: Held | None = None
        """The duty for which the messages were counted."""
        self.partitions: list[Partition] = []
        """Totals of the messages up to `_counted`, if any is known."""
        self._counted = self._count_up_to = 0
        self._fresh: tuple[list[Row], list[Row]] = [], []
        """Rows of messages after `_count_up_to` that are not in the totals yet."""
        self._rests_until_us = 0
        self.trimmed = 0
        """Number of messages that were deleted."""

    def tell(self, messages: Sequence[Message]) -> None:
        """Count messages that were stored by any hub."""
        if self._held:
            for message in messages:
                self._fresh[is_unsafe(message.topic)].append((message.position, message.time_us, message.size))

    def recount(self) -> None:
        """Count all messages again before the next step, as for a duty that was taken over."""
        self._held = None

    async def trim(self, retention: Retention) -> tuple[Sequence[Partition], bool]:
        """One step: the totals after it, none if another hub trims; and True if there may be more to do.

        Raises `Unavailable`.
        """
        held = self._duties.find(TRIM)
        if held is not self._held:
            self._held, self.partitions = held, []
        if held is None:
            await trio.lowlevel.checkpoint()
            return (), False
        if not self.partitions:
            # What is told from now on is added to that.
            self._fresh, self._count_up_to = ([], []), self._told_up_to()
            self.partitions = await self._writer.do(count_none)
            self._counted = min(partition.passed for partition in self.partitions)
        if self._counted < self._count_up_to:
            await self._count_on()
            # The rest in further steps, between which messages are stored.
            if self._counted < self._count_up_to:
                return self.partitions, True
        fresh, self._fresh = self._fresh, ([], [])
        known = [partition.grown(rows) for partition, rows in zip(self.partitions, fresh, strict=True)]
        # If the step fails, they are doubtful.
        self.partitions = []
        step = await self._writer.do(partial(self._step, known, retention, held.fence))
        if step is None:
            return (), False
        self.partitions = step.partitions
        self.trimmed += sum(one.count for one in known) - sum(one.count for one in step.partitions)
        self._rests_until_us = 0 if step.more else step.now_us + REST_US
        return step.partitions, step.more

    async def _count_on(self) -> None:
        count = partial(count_on, partitions=self.partitions, after=self._counted, up_to=self._count_up_to)
        self.partitions, self._counted = await self._writer.do(partial(count, limit=self._scan_length))

    def _step(
        self, known: Sequence[Partition], retention: Retention, fence: int, connection: "Connection[Any]"
    ) -> _Step | None:
        now_us = self._clock_us() if self._clock_us else load_now(connection)
        limits = [RetentionLimits.of(retention, unsafe=unsafe, now_us=now_us) for unsafe in PARTITIONS]
        partitions, more = list(known), False
        looks_for_keys = not now_us < self._rests_until_us <= now_us + REST_US
        for unsafe, limit in zip(PARTITIONS, limits, strict=True):
            if partitions[unsafe].due(limit):
                trimmed = trim_partition(
                    connection,
                    partitions[unsafe],
                    limit,
                    unsafe=unsafe,
                    scan_length=self._scan_length,
                    hub=self._hub,
                    fence=fence,
                )
                if trimmed is None:
                    return None
                partitions[unsafe] = trimmed
                looks_for_keys = True
            lost = partitions[unsafe].lost if unsafe else 0
            more |= looks_for_keys and forget_keys(connection, limit, lost=lost, unsafe=unsafe)
            more |= partitions[unsafe].due(limit)
        return _Step(partitions, now_us, more)
