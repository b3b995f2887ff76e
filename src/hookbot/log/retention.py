"""Retention: how much history is kept, and the account of it that says what has to go.

A log has two partitions, the safe and the unsafe messages. Each has limits of its own, so that untrusted clients,
who may publish to unsafe topics, never push out a safe message.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf

PARTITIONS = (False, True)
"""The safe and the unsafe partition: whether its messages are unsafe is also its index in a sequence of both."""

STEP_ROWS = 500  # a step of this many 1 KB messages holds up the writer for a few milliseconds
STEP_BYTES = 8 << 20  # the pages of a deleted body are touched one by one

Row = tuple[int, int, int]
"""Position, time in microseconds and size of a message."""


@dataclass(frozen=True, slots=True)
class Retention:
    """Limits on the history that is kept: the first one reached counts. None means without limit.

    Unsafe topics, where untrusted clients publish, count against budgets of their own (`max_unsafe_bytes`, and
    `max_count` once more), so that they never push out a safe message. Idempotency keys live for `dedup_s`; those of
    untrusted clients go with their messages at the latest.
    """

    max_age_s: float | None = 7 * 86400
    max_bytes: int | None = 1 << 30
    max_count: int | None = None
    max_unsafe_bytes: int | None = 256 << 20
    dedup_s: float = 86400


@dataclass(frozen=True, slots=True)
class RetentionLimits:
    """The limits that a `Retention` sets for one partition at one moment."""

    before_us: float
    max_count: float
    max_bytes: float
    keys_before_us: int

    @classmethod
    def of(cls, retention: Retention, *, unsafe: bool, now_us: int) -> "RetentionLimits":
        """The limits of the safe or the unsafe partition at `now_us`."""
        max_bytes = retention.max_unsafe_bytes if unsafe else retention.max_bytes
        return cls(
            before_us=-inf if retention.max_age_s is None else now_us - retention.max_age_s * 1_000_000,
            max_count=inf if retention.max_count is None else retention.max_count,
            max_bytes=inf if max_bytes is None else max_bytes,
            keys_before_us=now_us - int(retention.dedup_s * 1_000_000),
        )

    def exceeded(self, count: int, size: int, oldest_us: int) -> bool:
        """Whether the oldest of `count` messages of `size` bytes together has to go."""
        return count > self.max_count or size > self.max_bytes or oldest_us < self.before_us


@dataclass(frozen=True, slots=True)
class Partition:
    """The account of the safe or the unsafe messages of a log, stored in the same commit as the messages it counts."""

    head: int = 0
    """Position and time of the newest message ever appended."""
    head_us: int = 0
    count: int = 0
    size: int = 0
    lost: int = 0
    """Position and time of the newest message that retention took; everything before it is gone, too."""
    lost_us: int = 0
    passed: int = 0
    """No message is left up to here; not before `lost`."""
    oldest_us: int = 0
    """No message that is left is older than this."""

    def grown(self, rows: Sequence[Row]) -> "Partition":
        """The account after these messages were appended."""
        if not rows:
            return self
        head, head_us, _ = rows[-1]
        size = self.size + sum(row[2] for row in rows)
        oldest_us = self.oldest_us if self.count else rows[0][1]
        return replace(self, head=head, head_us=head_us, count=self.count + len(rows), size=size, oldest_us=oldest_us)

    def due(self, limits: RetentionLimits) -> bool:
        """Whether there may be something to delete."""
        return self.passed < self.head and limits.exceeded(self.count, self.size, self.oldest_us)

    def doomed(self, oldest: Sequence[Row], limits: RetentionLimits) -> int:
        """How many of its `oldest` messages have to go now; one step never takes more than about `STEP_BYTES`."""
        count, size = self.count, self.size
        for taken, (_, time_us, row_size) in enumerate(oldest):
            if not limits.exceeded(count, size, time_us) or self.size - size >= STEP_BYTES:
                return taken
            count, size = count - 1, size - row_size
        return len(oldest)

    def shrunk(self, oldest: Sequence[Row], taken: int) -> "Partition":
        """The account after the first `taken` of its `oldest` messages (at least one) were deleted."""
        gone, rest = oldest[:taken], oldest[taken:]
        passed, oldest_us, _ = rest[0] if rest else oldest[-1]
        shrunk = replace(
            self,
            count=self.count - taken,
            size=self.size - sum(row[2] for row in gone),
            passed=passed - 1 if rest else passed,
            oldest_us=oldest_us,
        )
        return replace(shrunk, lost=gone[-1][0], lost_us=gone[-1][1]) if gone else shrunk
