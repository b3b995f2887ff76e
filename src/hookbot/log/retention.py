"""Retention: limits on the history, and the totals that show which messages exceed them.

Each budget is the limits on one partition of a log, so that no messages displace those of another one.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import NamedTuple

from ..protocol.message import MAX_TIME_US
from ..protocol.topics import UNSAFE

# Deleting this many messages of 1 KB delays the writer by a few milliseconds.
STEP_ROWS = 500
# For larger messages bytes count: SQLite touches each page of a deleted body.
STEP_BYTES = 8 << 20

Row = tuple[int, int, int]
"""Position, time (microseconds since 1970) and size (bytes) of a message. The size is 0 if somebody has deleted it."""


@dataclass(frozen=True, slots=True)
class Budget:
    """Limits on the messages of the topics that have a prefix; the first one reached applies. None means no limit."""

    prefix: str
    max_age_s: float | None
    max_bytes: int | None
    max_count: int | None


@dataclass(frozen=True, slots=True)
class Retention:
    """Limits on the history that is kept. None means no limit.

    They are those of the safe messages; unsafe ones have limits of their own: `max_unsafe_bytes`, and the others again.
    Keys for deduplication are kept for `dedup_s`; those of untrusted clients are deleted together with their messages
    at the latest.
    """

    max_age_s: float | None = 7 * 86400
    max_bytes: int | None = 1 << 30
    max_count: int | None = None
    max_unsafe_bytes: int | None = 256 << 20
    dedup_s: float = 86400
    sections: tuple[Budget, ...] = ()
    """Budgets of topics that have limits apart from those."""

    @property
    def budgets(self) -> Mapping[str, Budget]:
        """All budgets by their prefixes (`budgets.Budgets`)."""
        safe = Budget("", self.max_age_s, self.max_bytes, self.max_count)
        unsafe = Budget(UNSAFE, self.max_age_s, self.max_unsafe_bytes, self.max_count)
        return {budget.prefix: budget for budget in (safe, unsafe, *self.sections)}

    @property
    def ages_s(self) -> Collection[float]:
        """Ages at which something is deleted."""
        return {self.dedup_s, *[one.max_age_s for one in self.budgets.values() if one.max_age_s is not None]}

    def limits(self, now_us: int) -> "Mapping[str, RetentionLimits]":
        """Limits of each budget at `now_us`, by their prefixes."""
        return {prefix: RetentionLimits.of(budget, now_us=now_us) for prefix, budget in self.budgets.items()}

    def keys_before_us(self, now_us: int) -> int:
        """Time before which keys have expired at `now_us`."""
        return now_us - int(self.dedup_s * 1_000_000)


@dataclass(frozen=True, slots=True)
class RetentionLimits:
    """Limits of a `Budget` at one moment."""

    before_us: float
    max_count: float
    max_bytes: float

    @classmethod
    def of(cls, budget: Budget, *, now_us: int) -> "RetentionLimits":
        """Limits of a budget at `now_us`."""
        return cls(
            before_us=-inf if budget.max_age_s is None else now_us - budget.max_age_s * 1_000_000,
            max_count=inf if budget.max_count is None else budget.max_count,
            max_bytes=inf if budget.max_bytes is None else budget.max_bytes,
        )

    def exceeded(self, count: int, size: int, oldest_us: int) -> bool:
        """True if the oldest of `count` messages, of `size` bytes in total, has to be deleted."""
        return count > self.max_count or size > self.max_bytes or oldest_us < self.before_us


class Deleted(NamedTuple):
    """Part of a partition that retention has deleted; the fields are those of `Partition`."""

    lost: int = 0
    lost_us: int = 0
    passed: int = 0


@dataclass(frozen=True, slots=True)
class Partition:
    """Totals of the messages of one budget, stored in the same commit as the messages they count."""

    head: int = 0
    """Position and time of the newest message ever appended, or later ones."""
    head_us: int = 0
    count: int = 0
    size: int = 0
    lost: int = 0
    """Position and time of the newest message that was deleted.

    Those before it are deleted, too, unless partitions were merged."""
    lost_us: int = 0
    passed: int = 0
    """Position up to which no messages are left. The next step of retention starts after it."""
    oldest_us: int = 0
    """Lower bound on the time of the oldest message left."""
    dense: int = 0
    """Position up to which some positions may never have had a message: the log was copied from one that has holes."""

    @classmethod
    def merged(cls, sources: Sequence["Partition"]) -> "Partition":
        """Partition, not counted yet, whose messages are those of several, or some of them."""
        newest, oldest = max(sources, key=lambda one: one.lost), min(sources, key=lambda one: one.passed)
        return cls(
            head=max(one.head for one in sources),
            head_us=max(one.head_us for one in sources),
            lost=newest.lost,
            lost_us=newest.lost_us,
            passed=oldest.passed,
            # What one has passed may be amid the messages of another.
            dense=max(max(one.passed, one.lost, one.dense) for one in sources),
        )

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
        positions = min(self.lost, self.passed, self.dense) >= 0 and max(self.lost, self.passed) <= self.head
        totals = 0 <= self.count <= self.head - self.passed and 0 <= self.size <= max_size
        return positions and totals and 0 <= self.head_us <= MAX_TIME_US

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
        return shrunk.losing(*gone[-1][:2]) if gone else shrunk

    def losing(self, position: int, time_us: int) -> "Partition":
        """The partition after its message at a position was deleted."""
        return replace(self, lost=position, lost_us=time_us) if position > self.lost else self

    def counting(self, totals: Iterable[Sequence[int]]) -> "Partition":
        """The partition with more messages counted: numbers of some, size, time of the oldest, and a position if known.

        The position is that of the newest.
        """
        counted = [one for one in totals if one[0]]
        if not counted:
            return self
        oldest_us = min([one[2] for one in counted])
        return replace(
            self,
            head=max([self.head, *[one[3] for one in counted if len(one) > 3]]),
            count=self.count + sum([one[0] for one in counted]),
            size=self.size + sum([one[1] for one in counted]),
            oldest_us=min(self.oldest_us, oldest_us) if self.count else oldest_us,
        )
