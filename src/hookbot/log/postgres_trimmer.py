"""Retention of the PostgreSQL log, by the one hub that has the duty to trim.

It counts all messages when it has taken the duty over, and from then on adds those that it is told of: a total that
each batch had to write would be one more row that all hubs change.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import trio

from ..protocol.message import Message
from .budgets import Partitions
from .duties import TRIM, Duties, Held
from .postgres_queries import load_now
from .postgres_retention import count_none, count_on, forget_keys, trim_partition
from .postgres_writer import PostgresWriter
from .retention import Retention, Row

if TYPE_CHECKING:
    from psycopg import Connection

# Messages that one step counts, whose topics are sent here.
COUNTED = 20_000
# Interval for looking for expired keys while no message is due.
REST_US = 60_000_000


class _Step(NamedTuple):
    partitions: Partitions
    now_us: int
    more: bool


class Trimmer:
    """Totals of the log as one hub knows them, whose id is `hub`. `clock_us` replaces the server's clock."""

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
        self.partitions: Partitions | None = None
        """Totals of the messages up to `_counted`, if they are known."""
        self.generation = 0
        """Generation of their budgets in the log."""
        self._counted = self._count_up_to = 0
        self._fresh: list[tuple[str, Row]] = []
        """Topics and rows of messages after `_count_up_to` that are not in the totals yet."""
        self._rests_until_us = 0
        self.trimmed = 0
        """Number of messages that were deleted."""

    def tell(self, messages: Sequence[Message]) -> None:
        """Count messages that were stored by any hub."""
        if self._held:
            rows = [(message.topic, (message.position, message.time_us, message.size)) for message in messages]
            self._fresh += rows

    def recount(self) -> None:
        """Count all messages again before the next step, as for a duty that was taken over."""
        self._held = None

    async def trim(self, retention: Retention) -> tuple[Partitions | None, bool]:
        """One step: the totals after it, None if another hub trims; and True if there may be more to do.

        Raises `Unavailable`.
        """
        held = self._duties.find(TRIM)
        if held is not self._held:
            self._held, self.partitions = held, None
        if held is None:
            await trio.lowlevel.checkpoint()
            return None, False
        partitions = await self._known(retention, held.fence)
        # The rest in further steps, between which messages are stored.
        if partitions is None or self._counted < self._count_up_to:
            return partitions, partitions is not None
        fresh, self._fresh = self._fresh, []
        rows = defaultdict(list)
        for topic, row in fresh:
            rows[partitions.budgets.of(topic)].append(row)
        known = partitions.grown(rows)
        try:
            step = await self._writer.do(partial(self._step, known, retention, held.fence))
        except BaseException:
            # They are doubtful.
            self.partitions = None
            raise
        self.partitions = step.partitions if step else None
        if step is None:
            return None, False
        self.trimmed += known.count - step.partitions.count
        self._rests_until_us = 0 if step.more else step.now_us + REST_US
        return step.partitions, step.more

    async def _known(self, retention: Retention, fence: int) -> Partitions | None:
        """Totals by the budgets of `retention`, after another step of counting; None if another hub trims."""
        prefixes = retention.budgets.keys()
        if self.partitions and self.partitions.budgets.prefixes != prefixes:
            self.partitions = None
        if self.partitions is None:
            # What is told from now on is added to that.
            self._fresh, self._count_up_to = [], self._told_up_to()
            begin = partial(count_none, prefixes=prefixes, hub=self._hub, fence=fence)
            if (begun := await self._writer.do(begin)) is None:
                return None
            partitions, self.generation = begun
            self.partitions = partitions
            self._counted = min(partition.passed for partition in partitions.by_prefix.values())
        if self._counted < self._count_up_to:
            count = partial(count_on, partitions=self.partitions, after=self._counted, up_to=self._count_up_to)
            limit = min(self._scan_length, COUNTED)
            self.partitions, self._counted = await self._writer.do(partial(count, limit=limit))
        return self.partitions

    def _step(
        self, partitions: Partitions, retention: Retention, fence: int, connection: "Connection[Any]"
    ) -> _Step | None:
        now_us = self._clock_us() if self._clock_us else load_now(connection)
        limits = retention.limits(now_us)
        looks_for_keys = not now_us < self._rests_until_us <= now_us + REST_US
        for prefix in partitions.due_first(limits):
            trim = partial(
                trim_partition, connection, partitions, prefix, limits[prefix], scan_length=self._scan_length
            )
            trimmed = trim(hub=self._hub, fence=fence)
            if trimmed is None:
                return None
            partitions = partitions.updated({prefix: trimmed})
            looks_for_keys = True
        more = False
        if looks_for_keys:
            before_us = retention.keys_before_us(now_us)
            for unsafe in (False, True):
                more |= forget_keys(connection, before_us, unsafe=unsafe)
        return _Step(partitions, now_us, more or bool(partitions.due_first(limits)))
