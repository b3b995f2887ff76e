"""Retention: limits on the history, and the totals that show which messages exceed them.

A log has two partitions, the safe and the unsafe messages. Each has its own limits, so that untrusted clients, which
may publish to unsafe topics, never displace a safe message.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import NamedTuple

from ..protocol.message import MAX_TIME_US

PARTITIONS = (False, True)
"""The safe and the unsafe partition. `unsafe` is also the index of a partition in a sequence of both."""

# Deleting this many messages of 1 KB delays the writer by a few milliseconds.
STEP_ROWS = 500
# For larger messages bytes count: SQLite touches each page of a deleted body.
STEP_BYTES = 8 << 20

Row = tuple[int, int, int]
"""Position, time (microseconds since 1970) and size (bytes) of a message. The size is 0 if somebody has deleted it."""


@dataclass(frozen=True, slots=True)
class Retention:
    """Limits on the history that is kept; the first one reached applies. None means no limit.

    Unsafe messages have limits of their own: `max_unsafe_bytes`, and `max_count` again. Keys for deduplication are kept
    for `dedup_s`; those of untrusted clients are deleted together with their messages at the latest.
    """

    max_age_s: float | None = 7 * 86400
    max_bytes: int | None = 1 << 30
    max_count: int | None = None
    max_unsafe_bytes: int | None = 256 << 20
    dedup_s: float = 86400


@dataclass(frozen=True, slots=True)
class RetentionLimits:
    """Limits of a `Retention` for one partition at one moment."""

    before_us: float
    max_count: float
    max_bytes: float
    keys_before_us: int

    @classmethod
    def of(cls, retention: Retention, *, unsafe: bool, now_us: int) -> "RetentionLimits":
        """Limits of the safe or the unsafe partition at `now_us`."""
        max_bytes = retention.max_unsafe_bytes if unsafe else retention.max_bytes
        return cls(
            before_us=-inf if retention.max_age_s is None else now_us - retention.max_age_s * 1_000_000,
            max_count=inf if retention.max_count is None else retention.max_count,
            max_bytes=inf if max_bytes is None else max_bytes,
            keys_before_us=now_us - int(retention.dedup_s * 1_000_000),
        )

    def exceeded(self, count: int, size: int, oldest_us: int) -> bool:
        """True if the oldest of `count` messages, of `size` bytes in total, has to be deleted."""
        return count > self.max_count or size > self.max_bytes or oldest_us < self.before_us


def dense_after(partitions: Sequence["Partition"]) -> int:
    """Position after which each position up to the head has a message: retention has deleted none of them."""
    return max(max(partition.passed, partition.dense) for partition in partitions)


class Deleted(NamedTuple):
    """Part of a partition that retention has deleted; the fields are those of `Partition`."""

    lost: int = 0
    lost_us: int = 0
    passed: int = 0


@dataclass(frozen=True, slots=True)
class Partition:
    """Totals of the safe or the unsafe messages of a log, stored in the same commit as the messages they count."""

    head: int = 0
    """Position and time of the newest message ever appended."""
    head_us: int = 0
    count: int = 0
    size: int = 0
    lost: int = 0
    """Position and time of the newest message that was deleted. All messages before it are deleted, too."""
    lost_us: int = 0
    passed: int = 0
    """Position up to which no messages are left, at least `lost`. The next step of retention starts after it."""
    oldest_us: int = 0
    """Lower bound on the time of the oldest message left."""
    dense: int = 0
    """Position up to which some positions may never have had a message: the log was copied from one that has holes."""

    @property
    def deleted(self) -> Deleted:
        """Part that retention has deleted."""
        return Deleted(self.lost, self.lost_us, self.passed)

    def grown(self, rows: Sequence[Row]) -> "Partition":
        """The partition after these messages were appended."""
        if not rows:
            return self
        head, head_us, _ = rows[-1]
        # None are left, although some are counted, if damage has hidden them from retention.
        count, size = (self.count, self.size) if self.passed < self.head else (0, 0)
        size += sum([row[2] for row in rows])
        oldest_us = self.oldest_us if count else rows[0][1]
        # Not by `replace`, which takes as long as all of the above.
        lost = self.lost, self.lost_us, self.passed
        return Partition(head, head_us, count + len(rows), size, *lost, oldest_us, self.dense)

    def without(self, rows: Sequence[Row]) -> "Partition":
        """The partition after these messages were deleted by somebody. Those that retention has passed do not count."""
        counted = [size for position, _, size in rows if position > self.passed]
        return replace(self, count=self.count - len(counted), size=self.size - sum(counted))

    def is_possible(self, *, max_size: int) -> bool:
        """False if damage has changed these totals: retention would delete messages because of a wrong size."""
        in_order = 0 <= self.lost <= self.passed <= self.head and 0 <= self.head_us <= MAX_TIME_US
        return (
            in_order and self.dense >= 0 and 0 <= self.count <= self.head - self.passed and 0 <= self.size <= max_size
        )

    def due(self, limits: RetentionLimits) -> bool:
        """True if there may be messages to delete."""
        return self.passed < self.head and limits.exceeded(self.count, self.size, self.oldest_us)

    def doomed(self, oldest: Sequence[Row], limits: RetentionLimits) -> int:
        """Number of its `oldest` rows to delete in one step, which is limited to about `STEP_BYTES`."""
        count, size = self.count, self.size
        for taken, (_, time_us, row_size) in enumerate(oldest):
            if row_size and not (limits.exceeded(count, size, time_us) and self.size - size < STEP_BYTES):
                return taken
            count, size = count - bool(row_size), size - row_size
        return len(oldest)

    def shrunk(self, oldest: Sequence[Row], taken: int) -> "Partition":
        """The partition after the first `taken` of its `oldest` rows were deleted. `oldest` must not be empty."""
        rest, gone = oldest[taken:], [row for row in oldest[:taken] if row[2]]
        passed, oldest_us, _ = rest[0] if rest else oldest[-1]
        shrunk = replace(
            self,
            count=self.count - len(gone),
            size=self.size - sum(row[2] for row in gone),
            passed=passed - 1 if rest else passed,
            oldest_us=oldest_us,
        )
        return replace(shrunk, lost=gone[-1][0], lost_us=gone[-1][1]) if gone else shrunk
