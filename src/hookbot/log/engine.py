"""The state that every engine of a log keeps in memory, and the rules that follow from it."""

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from string import ascii_lowercase

from ..protocol.topics import TopicFilter, is_unsafe, patterns_of
from .deduplication import Batch, FirstUse
from .retention import PARTITIONS, Partition

PATTERNS = 1 << 15  # of 100 bytes each, some 10 MiB in both generations


def new_epoch() -> str:
    """Eight random letters, for a log that begins."""
    return "".join(secrets.choice(ascii_lowercase) for _ in range(8))


@dataclass(frozen=True, slots=True)
class ScanRange:
    """The positions after `low`, up to and including `high`, which one call of `Log.read` scans.

    `end` is what `Page.next_after` becomes when all that was found there fits into the page.
    """

    low: int
    high: int
    end: int


class TopicHeads:
    """The newest position that each pattern selects, for the patterns that were in use last.

    Answers "nothing new here" without a look at the disk. It remembers two generations of at least `PATTERNS`
    patterns. What has dropped out of both selects nothing newer than the end of the generation that was forgotten.
    """

    def __init__(self, head: int) -> None:
        self._young: dict[str, int] = {}
        self._old: dict[str, int] = {}
        self._turned = head
        self._forgotten = head

    def add(self, positions: Iterable[tuple[str, int]]) -> None:
        """Take note of topics and positions of messages, in the order of positions."""
        for topic, position in sorted(dict(positions).items(), key=itemgetter(1)):
            for pattern in patterns_of(topic):
                self._young[pattern] = position
            if len(self._young) >= PATTERNS:
                self._old, self._young = self._young, {}
                self._forgotten, self._turned = self._turned, position

    def of(self, wanted: TopicFilter) -> int:
        """A position after which `wanted` selects nothing."""
        return max(map(self._of_pattern, wanted.patterns), default=0)

    def _of_pattern(self, pattern: str) -> int:
        return self._young.get(pattern) or self._old.get(pattern) or self._forgotten


class Engine:
    """The common part of all engines; each completes `Log` with what stores, reads and deletes messages."""

    def __init__(self, epoch: str, partitions: Sequence[Partition], clock_us: Callable[[], int]) -> None:
        self.epoch = epoch
        self._partitions = list(partitions)
        self._heads = TopicHeads(self.head)
        self._clock_us = clock_us

    @property
    def head(self) -> int:
        return max(partition.head for partition in self._partitions)

    def lost_up_to(self, wanted: TopicFilter) -> int:
        return max((partition.lost for partition in self._selected(wanted)), default=0)

    def _lost_before(self, time_us: int) -> int:
        """The newest position that retention took of what was stored before `time_us`."""
        return max((partition.lost for partition in self._partitions if partition.lost_us < time_us), default=0)

    def _scan_range(self, wanted: TopicFilter, *, after: int, newest: bool, length: int) -> ScanRange:
        """At most `length` positions from `after` on, or back, without those where nothing of `wanted` is left."""
        floor = min((partition.passed for partition in self._selected(wanted)), default=0)
        top = self._heads.of(wanted)
        if newest:
            high = min(after - 1, top)
            low = max(high - length, floor)
            return ScanRange(low, high, low + 1 if low > floor else 0)
        low = max(after, floor)
        high = min(low + length, top)
        return ScanRange(low, high, high if high < top else self.head)

    def _new_batch(self, known: Mapping[bytes, FirstUse]) -> Batch:
        """An empty batch after the head; the times of messages never run backwards, even if the clock does."""
        time_us = max(self._clock_us(), *(partition.head_us for partition in self._partitions))
        return Batch(self.epoch, self.head, time_us, known)

    def _grown(self, batch: Batch) -> list[Partition]:
        """The partitions after `batch` was stored."""
        return [self._partitions[unsafe].grown(batch.rows(unsafe=unsafe)) for unsafe in PARTITIONS]

    def _selected(self, wanted: TopicFilter) -> Iterable[Partition]:
        return (self._partitions[is_unsafe(pattern)] for pattern in wanted.patterns)
