"""The log: an append-only record of messages in the order of their ids, and the only durable state of a hub.

`Log` says what any engine promises; `MemoryLog` keeps nothing over a restart; the default is
`hookbot.log.sqlite.SqliteLog`.
"""

import secrets
from bisect import bisect_left, bisect_right
from collections import ChainMap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from heapq import merge
from itertools import islice
from string import ascii_lowercase
from typing import Protocol

import trio

from ..protocol.message import Draft, Duplicate, Message, wall_clock_us
from ..protocol.topics import TopicFilter, is_unsafe
from .deduplication import Batch, FirstUse, Outcome
from .engine import TopicHeads
from .retention import (
    PARTITIONS,
    STEP_ROWS,
    Partition,
    Retention,
    RetentionLimits,
    Row,
    lost_before,
    lost_up_to,
    passed_up_to,
)

__all__ = ["Duplicate", "Log", "MemoryLog", "Outcome", "Page", "Retention", "SavedCursor"]

STRETCH = 20_000  # looking at this many messages takes a few milliseconds


@dataclass(frozen=True, slots=True)
class Page:
    """A stretch of what a filter selects, in the order asked for.

    Everything selected up to and including `next_after` is in this page or was before it; when
    `next_after` is the head, the page reached the end of the log. (Backwards: down to and including
    `next_after`; 0 when the page reached the beginning.)
    """

    messages: Sequence[Message]
    next_after: int


@dataclass(frozen=True, slots=True)
class SavedCursor:
    """A place in the log that somebody asked the hub to remember."""

    name: str
    position: int
    updated_us: int


class Log(Protocol):
    """What an engine promises. Positions count from 1, strictly increasing, never reused, not even after retention."""

    @property
    def epoch(self) -> str:
        """Eight random letters that name this log; a wiped log gets others."""

    @property
    def head(self) -> int:
        """The position of the newest message ever appended; 0 before the first."""

    async def append(self, drafts: Sequence[Draft], *, cursors: Mapping[str, int | None] = {}) -> Sequence[Outcome]:
        """Store all drafts and cursors in one durable commit (a cursor of None is deleted).

        Only one caller at a time; the broker's writer. Not cancellable once begun. Raises
        `Unavailable`, with nothing of it stored, when the store cannot take it; a later call may succeed.
        """

    async def read(self, wanted: TopicFilter, *, after: int, limit: int, max_bytes: int, newest: bool = False) -> Page:
        """The next messages that `wanted` selects after position `after`.

        At most `limit`, of about `max_bytes` (but one, however large). With `newest`, backwards: those before
        position `after`, newest first. May return fewer, even none, before the end, since only a bounded
        stretch of the log is searched; go on from `next_after`. Raises `Unavailable`.
        """

    async def position_before(self, time_us: int) -> int:
        """The position after which everything was stored at or after `time_us`. Raises `Unavailable`."""

    def lost_up_to(self, wanted: TopicFilter) -> int:
        """The highest position that retention may have taken from what `wanted` selects; 0 if nothing was.

        Whoever continues after a lower position has to be told of a gap.
        """

    async def cursors(self, prefix: str = "") -> Sequence[SavedCursor]:
        """All saved cursors whose name begins with `prefix`, by name. Raises `Unavailable`."""

    async def trim(self, retention: Retention, *, now_us: int) -> bool:
        """Delete one bounded step of what `retention` no longer keeps; True when there is more to do.

        Called by the same task as `append`, between batches. Costs next to nothing when nothing is due.
        Raises `Unavailable`, with nothing of it deleted.
        """

    async def check(self) -> None:
        """Raises `Unavailable` unless the store can be written to now; it really tries, so do not ask too often."""


def new_epoch() -> str:
    """Eight random letters, for a log that begins."""
    return "".join(secrets.choice(ascii_lowercase) for _ in range(8))


@dataclass(frozen=True, slots=True)
class ScanRange:
    """The positions after `low`, up to and including `high`, which one call of `read` searches.

    `end` is what `Page.next_after` becomes when all that was found there fits into the page.
    """

    low: int
    high: int
    end: int

    @classmethod
    def of(cls, *, after: int, newest: bool, floor: int, top: int, head: int, length: int) -> "ScanRange":
        """At most `length` positions from `after` on, or back; nothing is to be found up to `floor` or after `top`."""
        if newest:
            high = min(after - 1, top)
            low = max(high - length, floor)
            return cls(low, high, low + 1 if low > floor else 0)
        low = max(after, floor)
        high = min(low + length, top)
        return cls(low, high, high if high < top else head)


class MemoryLog:
    """A log that is gone when its process is. It uses no threads, so Trio's test clocks understand it."""

    def __init__(self, *, clock_us: Callable[[], int] = wall_clock_us) -> None:
        self.epoch = new_epoch()
        self._clock_us = clock_us
        self._newest = TopicHeads(0)
        self._halves = [Partition() for _ in PARTITIONS]
        self._entries: tuple[list[_Entry], list[_Entry]] = [], []
        self._keys: tuple[dict[bytes, FirstUse], dict[bytes, FirstUse]] = {}, {}
        self._cursors: dict[str, SavedCursor] = {}

    @property
    def head(self) -> int:
        """The position of the newest message ever appended; 0 before the first."""
        return max(half.head for half in self._halves)

    async def append(self, drafts: Sequence[Draft], *, cursors: Mapping[str, int | None] = {}) -> Sequence[Outcome]:
        """Store all drafts and cursors at once."""
        await trio.lowlevel.checkpoint()
        time_us = max(self._clock_us(), *(half.head_us for half in self._halves))
        admission = Batch(self.epoch, self.head, time_us, ChainMap(*self._keys))
        outcomes = [admission.admit(draft) for draft in drafts]
        self._halves = [self._halves[unsafe].grown(admission.rows(unsafe=unsafe)) for unsafe in PARTITIONS]
        for row, message in admission.stored:
            self._entries[is_unsafe(message.topic)].append((row, message))
        self._newest.add((message.topic, row[0]) for row, message in admission.stored)
        for key, first in admission.keys.items():
            self._keys[first.unsafe][key] = first
        for name, position in cursors.items():
            self._save(name, position, time_us)
        return outcomes

    async def read(self, wanted: TopicFilter, *, after: int, limit: int, max_bytes: int, newest: bool = False) -> Page:
        """The next messages that `wanted` selects after position `after`."""
        await trio.lowlevel.checkpoint()
        stretch = ScanRange.of(
            after=after,
            newest=newest,
            floor=passed_up_to(wanted, self._halves),
            top=self._newest.of(wanted),
            head=self.head,
            length=STRETCH,
        )
        parts = [_within(entries, stretch, newest=newest) for entries in self._entries]
        selects = cache(wanted.matches)
        found = (entry for entry in merge(*parts, key=_position, reverse=newest) if selects(entry[1].topic))
        return _fill(found, limit, max_bytes, stretch.end)

    async def position_before(self, time_us: int) -> int:
        """The position after which everything was stored at or after `time_us`."""
        await trio.lowlevel.checkpoint()
        position = lost_before(self._halves, time_us)
        for entries in self._entries:
            older = bisect_left(entries, time_us, key=_time_us)
            position = max(position, _position(entries[older - 1]) if older else 0)
        return position

    def lost_up_to(self, wanted: TopicFilter) -> int:
        """The highest position that retention may have taken from what `wanted` selects; 0 if nothing was."""
        return lost_up_to(wanted, self._halves)

    async def cursors(self, prefix: str = "") -> Sequence[SavedCursor]:
        """All saved cursors whose name begins with `prefix`, by name."""
        await trio.lowlevel.checkpoint()
        return [cursor for name, cursor in sorted(self._cursors.items()) if name.startswith(prefix)]

    async def trim(self, retention: Retention, *, now_us: int) -> bool:
        """Delete one bounded step of what `retention` no longer keeps; True when there is more to do."""
        await trio.lowlevel.checkpoint()
        return any(self._trim_half(retention, now_us, unsafe=unsafe) for unsafe in PARTITIONS)

    async def check(self) -> None:
        """Memory can always be written to."""
        await trio.lowlevel.checkpoint()

    def _save(self, name: str, position: int | None, time_us: int) -> None:
        if position is None:
            self._cursors.pop(name, None)
        else:
            self._cursors[name] = SavedCursor(name, position, time_us)

    def _trim_half(self, retention: Retention, now_us: int, *, unsafe: bool) -> bool:
        limits = RetentionLimits.of(retention, unsafe=unsafe, now_us=now_us)
        half, entries = self._halves[unsafe], self._entries[unsafe]
        if half.due(limits):
            oldest = [row for row, _ in entries[:STEP_ROWS]]
            taken = half.doomed(oldest, limits)
            self._halves[unsafe] = half = half.shrunk(oldest, taken)
            del entries[:taken]
        return self._forget_keys(half.lost if unsafe else 0, limits, self._keys[unsafe]) or half.due(limits)

    def _forget_keys(self, lost: int, limits: RetentionLimits, keys: dict[bytes, FirstUse]) -> bool:
        oldest = list(islice(keys.items(), STEP_ROWS))
        expired = [key for key, use in oldest if use.time_us < limits.keys_before_us or use.position <= lost]
        for key in expired:
            del keys[key]
        return len(expired) == STEP_ROWS


_Entry = tuple[Row, Message]


def _position(entry: _Entry) -> int:
    return entry[0][0]


def _time_us(entry: _Entry) -> int:
    return entry[0][1]


def _within(entries: list[_Entry], stretch: ScanRange, *, newest: bool) -> Iterator[_Entry]:
    first = bisect_right(entries, stretch.low, key=_position)
    last = bisect_right(entries, stretch.high, key=_position)
    places = range(last - 1, first - 1, -1) if newest else range(first, last)
    return (entries[place] for place in places)


def _fill(found: Iterable[_Entry], limit: int, max_bytes: int, end: int) -> Page:
    messages: list[Message] = []
    for (_, _, size), message in found:
        max_bytes -= size
        if len(messages) >= limit or (messages and max_bytes < 0):
            return Page(messages, messages[-1].position)
        messages.append(message)
    return Page(messages, end)
