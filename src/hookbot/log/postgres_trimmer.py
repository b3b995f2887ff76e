"""Retention of the PostgreSQL log, by the one hub that has the duty to trim.

It counts all messages when it takes the duty over, and from then on those that it is told of: a total that each batch
had to write would be one more row that all hubs change.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import trio

from ..callbacks import T
from ..protocol.message import Message
from ..protocol.topics import is_unsafe
from .duties import Duties, Held
from .postgres_queries import load_now
from .postgres_retention import TRIM, forget_keys, recount, trim_partition
from .postgres_writer import PostgresWriter
from .retention import PARTITIONS, Partition, Retention, RetentionLimits, Row

if TYPE_CHECKING:
    from psycopg import Connection

# Interval for looking for expired keys while no message is due.
REST_US = 60_000_000
# Interval for asking whether the duty is free.
CLAIM_S = 3.0


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
        self._claims_at = 0.0
        self._partitions: list[Partition] = []
        self._fresh: tuple[list[Row], list[Row]] = [], []
        """Rows of messages that are not in the totals yet."""
        self._rests_until_us = 0

    def tell(self, messages: Sequence[Message]) -> None:
        """Count messages that were stored by any hub."""
        if self._held:
            for message in messages:
                self._fresh[is_unsafe(message.topic)].append((message.position, message.time_us, message.size))

    def recount(self) -> None:
        """Count all messages again before the next step."""
        if self._held:
            self._partitions = []

    async def trim(self, retention: Retention) -> tuple[Sequence[Partition], bool]:
        """One step: the totals after it, none if another hub trims; and True if there may be more to do.

        Raises `Unavailable`.
        """
        held = await self._hold()
        if held is None:
            await trio.lowlevel.checkpoint()
            return (), False
        fresh, self._fresh = self._fresh, ([], [])
        self._partitions = [self._partitions[unsafe].grown(fresh[unsafe]) for unsafe in PARTITIONS]
        step = await self._as_holder(held, partial(self._step, retention, held.fence))
        if step is None:
            held.lose()
            return (), False
        self._partitions = step.partitions
        self._rests_until_us = 0 if step.more else step.now_us + REST_US
        return step.partitions, step.more

    async def _hold(self) -> Held | None:
        """The duty, claimed if it is time to; then the messages are counted."""
        if self._held and not self._held.lost.is_set():
            return self._held if self._partitions else await self._count(self._held)
        self._held = None
        if trio.current_time() < self._claims_at:
            return None
        self._claims_at = trio.current_time() + CLAIM_S
        claimed = await self._duties.claim(TRIM)
        if not isinstance(claimed, Held):
            return None
        return await self._count(claimed)

    async def _count(self, held: Held) -> Held:
        # What is told from now on is added to that.
        self._held, self._fresh = held, ([], [])
        self._partitions = await self._as_holder(held, partial(recount, up_to=self._told_up_to()))
        return held

    async def _as_holder(self, held: Held, work: "Callable[[Connection[Any]], T]") -> T:
        """Result of work for the duty. If it fails, the totals are doubtful, and whoever holds the duty next counts."""
        try:
            return await self._writer.do(work)
        except BaseException:
            self._held = None
            await self._duties.give_up(held)
            raise

    def _step(self, retention: Retention, fence: int, connection: "Connection[Any]") -> _Step | None:
        now_us = self._clock_us() if self._clock_us else load_now(connection)
        limits = [RetentionLimits.of(retention, unsafe=unsafe, now_us=now_us) for unsafe in PARTITIONS]
        partitions, more = list(self._partitions), False
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
