"""Budgets: which topics share the limits of retention, and the partitions of a log that they make.

Untrusted clients may publish to unsafe topics, so those never share a budget with safe ones.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from ..protocol.topics import UNSAFE, TopicFilter, is_unsafe, patterns_of
from .retention import Deleted, Partition, RetentionLimits, Row

ROOTS = ("", UNSAFE)
"""Budgets that each log has: of the safe and of the unsafe topics that have no other one."""

# Budgets of which one step deletes: what each deletes delays the writer.
STEP_BUDGETS = 2
# A topic may have a kilobyte.
CACHED_TOPICS = 1 << 14


def root_of(topic: str) -> str:
    """Prefix of the budget of a topic, where there are only the `ROOTS`."""
    return UNSAFE if is_unsafe(topic) else ""


class Budgets:
    """The prefixes of topics that have a budget: each topic has that of the longest one.

    A prefix is a pattern like those of a `TopicFilter`: everything beneath it if it ends in a slash, or one topic.
    """

    def __init__(self, prefixes: Iterable[str] = ROOTS) -> None:
        self.prefixes = frozenset(prefixes)
        self.of: Callable[[str], str] = root_of
        """Function for the prefix of the budget of a topic, or of the one in which a pattern begins."""
        if self.prefixes != frozenset(ROOTS):
            self.of = lru_cache(CACHED_TOPICS)(self._find)
        self._outer = {prefix: frozenset(patterns_of(prefix)) for prefix in self.prefixes.difference(ROOTS)}

    def touched_by(self, wanted: TopicFilter) -> set[str]:
        """Prefixes of the budgets of which `wanted` may select messages."""
        return {*map(self.of, wanted.patterns)} | self._beneath(wanted.patterns)

    def others_in(self, prefix: str) -> TopicFilter:
        """Topics that begin with the prefix of a budget and are not in it, since others have it."""
        return TopicFilter(tuple(sorted(self._beneath([prefix]) - {prefix})))

    def _beneath(self, patterns: Iterable[str]) -> set[str]:
        return {prefix for prefix, outer in self._outer.items() if not outer.isdisjoint(patterns)}

    def _find(self, topic: str) -> str:
        return max(self.prefixes.intersection(patterns_of(topic)), key=len)


@dataclass(frozen=True, slots=True)
class Partitions:
    """The partitions of a log: the messages of each budget."""

    budgets: Budgets
    by_prefix: Mapping[str, Partition]

    @classmethod
    def of(cls, by_prefix: Mapping[str, Partition]) -> "Partitions":
        """Partitions by the prefixes of their budgets."""
        return cls(Budgets(by_prefix), by_prefix)

    @classmethod
    def empty(cls, prefixes: Iterable[str] = ROOTS) -> "Partitions":
        """Partitions without messages."""
        return cls.of({prefix: Partition() for prefix in prefixes})

    @property
    def head(self) -> int:
        """Position and time of the newest message ever appended."""
        return max([partition.head for partition in self.by_prefix.values()])

    @property
    def head_us(self) -> int:
        return max([partition.head_us for partition in self.by_prefix.values()])

    @property
    def count(self) -> int:
        """Number of all messages."""
        return sum([partition.count for partition in self.by_prefix.values()])

    @property
    def dense(self) -> int:
        """Position after which each position up to the head has a message: retention has deleted none of them."""
        return max([max(one.passed, one.lost, one.dense) for one in self.by_prefix.values()])

    @property
    def deleted(self) -> Mapping[str, Deleted]:
        """Part of each that retention has deleted."""
        return {prefix: partition.deleted for prefix, partition in self.by_prefix.items()}

    @property
    def totals(self) -> list[tuple[str, int, int, int]]:
        """Totals of each partition, as for `counting`."""
        return [(prefix, one.count, one.size, one.oldest_us) for prefix, one in self.by_prefix.items()]

    def containing(self, topic: str) -> Partition:
        """The partition of the messages of a topic."""
        return self.by_prefix[self.budgets.of(topic)]

    def touched_by(self, wanted: TopicFilter) -> list[Partition]:
        """Partitions of which `wanted` may select messages."""
        return [self.by_prefix[prefix] for prefix in self.budgets.touched_by(wanted)]

    def due_first(self, limits: Mapping[str, RetentionLimits]) -> list[str]:
        """Prefixes of the budgets of which the next step deletes: those furthest behind, so that each has its turn."""
        due = [prefix for prefix, partition in self.by_prefix.items() if partition.due(limits[prefix])]
        return sorted(due, key=lambda prefix: self.by_prefix[prefix].passed)[:STEP_BUDGETS]

    def grown(self, rows: Mapping[str, Sequence[Row]]) -> "Partitions":
        """The partitions after messages were appended."""
        return self.updated({prefix: self.by_prefix[prefix].grown(these) for prefix, these in rows.items()})

    def without(self, rows: Mapping[str, Sequence[Row]]) -> "Partitions":
        """The partitions after messages were deleted by somebody."""
        return self.updated({prefix: self.by_prefix[prefix].without(these) for prefix, these in rows.items() if these})

    def updated(self, changed: Mapping[str, Partition]) -> "Partitions":
        """The partitions with some replaced."""
        return Partitions(self.budgets, {**self.by_prefix, **changed}) if changed else self

    def regrouped(self, prefixes: Iterable[str]) -> "Partitions":
        """Partitions of other budgets, whose messages are not counted yet.

        What retention may have deleted of them is the most, and what it has passed the least, of all from which they
        get messages.
        """
        budgets = Budgets(prefixes)
        merged = {prefix: [self.containing(prefix)] for prefix in budgets.prefixes}
        for prefix, partition in self.by_prefix.items():
            merged[budgets.of(prefix)].append(partition)
        return Partitions(budgets, {prefix: Partition.merged(these) for prefix, these in merged.items()})

    def losing(self, lost: Mapping[str, Deleted]) -> "Partitions":
        """The partitions of these budgets, of which so much is deleted; what is known of them may be newer."""
        known = self if lost.keys() == self.budgets.prefixes else self.regrouped(lost)
        changed = {}
        for prefix, one in lost.items():
            partition = known.by_prefix[prefix]
            if one.passed > partition.passed or one.lost > partition.lost:
                passed = max(one.passed, partition.passed)
                changed[prefix] = replace(partition, passed=passed).losing(one.lost, one.lost_us)
        return known.updated(changed)

    def counting(self, totals: Iterable[Sequence[Any]]) -> "Partitions":
        """The partitions with more messages counted: for each topic, what `Partition.counting` takes."""
        counted: dict[str, list[Sequence[Any]]] = defaultdict(list)
        for topic, *these in totals:
            counted[self.budgets.of(topic)].append(these)
        return self.updated({prefix: self.by_prefix[prefix].counting(these) for prefix, these in counted.items()})
