"""The base of all engines: their state in memory, and the rules that depend only on it."""

import secrets
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from string import ascii_lowercase

import trio

from ..callbacks import result_of
from ..errors import ConfigError, Superseded
from ..protocol.message import Draft, Once, format_id
from ..protocol.topics import TopicFilter, patterns_of
from .batch import Batch, SizeOf, own_size
from .budgets import Partitions
from .contract import Behind, Forget, NewPosition, News, Result, Stored, Tell, Unit, Usage
from .copies import SCAN_LENGTH, CopiesPage, Copy
from .deduplication import FirstUse, Outcome
from .duties import Duties, SoleDuties
from .histogram import SECONDS, Histogram

# With about 130 bytes for each pattern, both generations take 8 MiB.
PATTERNS = 1 << 15


def new_epoch() -> str:
    """Eight random letters that name a new log."""
    return "".join(secrets.choice(ascii_lowercase) for _ in range(8))


def unfinished_copy(place: str, source: str) -> ConfigError:
    """Error for a log that was not copied to its end: as it is, it lacks messages."""
    return ConfigError(
        f"the log in {place} is a copy of that in {source} which is not finished: "
        "let the same `hookbot log copy` go on, or delete it"
    )


@dataclass(frozen=True, slots=True)
class ScanRange:
    """Positions that one call of `Log.read` scans: those after `low`, up to and including `high`.

    `end` is the `next_after` of a page that holds everything found there. After `dense`, each position has a message.
    """

    low: int
    high: int
    end: int
    dense: int


class TopicHeads:
    """Newest position for each pattern that recent messages match, to answer "nothing new" without reading the disk.

    Patterns are kept in two generations of `max_patterns` each, by their hashes: they may be long, and for two with the
    same hash the bound is that of the newer one. A pattern in neither of them selects no message newer than the end of
    the generation that was dropped last.
    """

    def __init__(self, head: int, *, max_patterns: int = PATTERNS) -> None:
        self._max_patterns = max_patterns
        self._young: dict[int, int] = {}
        self._old: dict[int, int] = {}
        self._turned = head
        self._forgotten = head

    def add(self, positions: Iterable[tuple[str, int]]) -> None:
        """Record topics and positions of new messages, in the order of positions."""
        # Only the newest message of a topic counts, and a batch often has many of one topic.
        for topic, position in sorted(dict(positions).items(), key=itemgetter(1)):
            for pattern in patterns_of(topic):
                self._young[hash(pattern)] = position
            if len(self._young) >= self._max_patterns:
                self._old, self._young = self._young, {}
                self._forgotten, self._turned = self._turned, position

    def of(self, wanted: TopicFilter) -> int:
        """Upper bound on the positions of messages that `wanted` selects."""
        return max(map(self._of_pattern, wanted.patterns), default=0)

    def _of_pattern(self, pattern: str) -> int:
        key = hash(pattern)
        return self._young.get(key) or self._old.get(key) or self._forgotten


class Engine(ABC):
    """Base class of all engines, without storage: each adds the methods of `Log` that store, read and delete."""

    _scan_length: int
    """Positions that one call of `read` or `behind` scans."""

    def __init__(self, epoch: str, partitions: Partitions, clock_us: Callable[[], int]) -> None:
        self.epoch = epoch
        self.duties: Duties = SoleDuties()
        self._ancestors: Mapping[str, int] = {}
        self.trimmed = 0
        self.sync_times = Histogram(SECONDS)
        self._partitions = partitions
        self._heads = TopicHeads(self.head)
        self._clock_us = clock_us
        self._tell: Tell = _tell_nobody
        self._forget: Forget = _tell_nobody
        self._untold: deque[News] = deque()

    @property
    def head(self) -> int:
        return self._partitions.head

    @property
    def head_us(self) -> int:
        return self._partitions.head_us

    @abstractmethod
    def store(self, units: Sequence[Unit], done: Stored) -> None:
        """See `Log.store`."""

    async def append(self, drafts: Sequence[Draft], *, cursors: Mapping[str, NewPosition] = {}) -> Sequence[Outcome]:
        results: Sequence[Result] = await result_of(partial(self.store, [Unit(drafts, cursors)]))
        [result] = results
        if isinstance(result, Superseded):
            raise result
        return result

    def follow(self, tell: Tell) -> None:
        self._tell = tell

    def follow_deletions(self, forget: Forget) -> None:
        self._forget = forget

    async def refresh(self) -> None:
        # Who alone writes to a log has told everything.
        await trio.lowlevel.checkpoint()

    async def erase(self) -> bool:
        # What is deleted is gone from the memory, and what is left on a server is up to that.
        await trio.lowlevel.checkpoint()
        return False

    async def behind(self, wanted: TopicFilter, *, after: int, limit: int) -> Behind:
        scan = self._scan_range(wanted, after=after, newest=False, length=self._scan_length)
        if scan.low >= scan.high:
            await trio.lowlevel.checkpoint()
            return Behind()
        scanned_all = scan.end == self.head
        number, oldest_us = await self._count(wanted, scan, limit + 1)
        return Behind(min(number, limit), number > limit or not scanned_all, oldest_us, scan.end)

    @abstractmethod
    async def _count(self, wanted: TopicFilter, scan: ScanRange, limit: int) -> tuple[int, int]:
        """Number of the messages in `scan` that `wanted` selects, up to `limit`, and time of the oldest, or 0."""

    async def copies(self, *, after: int) -> CopiesPage:
        high = max(after, min(after + SCAN_LENGTH, self.head))
        return CopiesPage(await self._find_copies(after, high), high)

    @abstractmethod
    async def _find_copies(self, low: int, high: int) -> Sequence[Copy]:
        """The copies after position `low`, up to and including `high`, in order."""

    async def find(self, once: Once) -> str | None:
        first = await self._first_use(once)
        return format_id(self.epoch, first.position) if first else None

    @abstractmethod
    async def _first_use(self, once: Once) -> FirstUse | None:
        """First use of a key, if it is stored."""

    def lost_up_to(self, wanted: TopicFilter) -> int:
        return max([partition.lost for partition in self._partitions.touched_by(wanted)], default=0)

    def gone_up_to(self, wanted: TopicFilter) -> int:
        return min([partition.passed for partition in self._partitions.touched_by(wanted)], default=0)

    def shared_with(self, epoch: str) -> int:
        return self._shared.get(epoch, -1)

    def hole_after(self, position: int) -> int:
        return 0

    def usage(self) -> Mapping[str, Usage]:
        return usage_of(self._partitions)

    @property
    def _shared(self) -> Mapping[str, int]:
        """The logs whose ids name messages here, by their epochs: each up to a position."""
        return {**self._ancestors, self.epoch: self.head}

    def _lost_before(self, time_us: int) -> int:
        """Newest deleted position of partitions that lost only messages from before `time_us`, 0 if there is none."""
        partitions = self._partitions.by_prefix.values()
        return max([partition.lost for partition in partitions if partition.lost_us < time_us], default=0)

    def _scan_range(self, wanted: TopicFilter, *, after: int, newest: bool, length: int) -> ScanRange:
        """At most `length` positions after `after`, or before it, without the ends where `wanted` selects nothing."""
        floor, dense = self.gone_up_to(wanted), self._partitions.dense
        top = self._heads.of(wanted)
        if newest:
            high = min(after - 1, top)
            low = max(high - length, floor)
            return ScanRange(low, high, low + 1 if low > floor else 0, dense)
        low = max(after, floor)
        high = min(low + length, top)
        return ScanRange(low, high, high if high < top else self.head, dense)

    def _new_batch(
        self, known: Mapping[bytes, FirstUse], positions: Mapping[str, int], size_of: SizeOf = own_size
    ) -> Batch:
        """Empty batch that continues after the head."""
        # Times never decrease, even if the clock is set back: `position_before` searches them by bisection.
        time_us = max(self._clock_us(), self.head_us)
        prefix_of = self._partitions.budgets.of
        return Batch(self.epoch, self.head, time_us, known, positions, size_of=size_of, prefix_of=prefix_of)

    def _end_batch(self, units: Sequence[Unit], batch: Batch, results: Sequence[Result], done: Stored) -> None:
        """Answer a batch that is stored, then tell of it."""
        news = News(batch.after, batch.messages, batch.head, units[0].began)
        self._heads.add([(message.topic, message.position) for message in news.messages])
        self._untold.append(news)
        done(results)
        # Whoever was answered may have stored another batch, which has told of both.
        while self._untold:
            self._tell(self._untold.popleft())


def usage_of(partitions: Partitions) -> Mapping[str, Usage]:
    """Totals of each partition, by the prefix of its budget."""
    return {
        prefix: Usage(one.count, one.size, one.oldest_us if one.count else 0)
        for prefix, one in partitions.by_prefix.items()
    }


def _tell_nobody(_: object) -> None:
    pass
