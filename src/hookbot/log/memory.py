"""The log in memory, for tests and for hubs whose messages need not survive a restart."""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from heapq import merge
from itertools import chain, islice

import trio

from ..protocol.message import Message, Once, wall_clock_us
from ..protocol.topics import EVERYTHING, TopicFilter
from .batch import moved_in
from .budgets import ROOTS, Partitions
from .contract import DeletionStep, Noted, Page, SavedCursor, Stored, Unit
from .copies import Copy, find_copies
from .deduplication import FirstUse, digest
from .engine import Engine, ScanRange, new_epoch
from .retention import STEP_ROWS, Retention, RetentionLimits, Row

# Scanning this many positions blocks the event loop for a few milliseconds.
SCAN_LENGTH = 20_000

# Beyond its text, a message takes so much memory, and each of its headers: both were measured.
MESSAGE_BYTES = 400
HEADER_BYTES = 180
# Part of a limit by which it may be exceeded between two calls of `trim`: deleting one by one would take long.
SLACK = 1 / 16


class MemoryLog(Engine):
    """Log in memory, lost when the process ends. It uses no threads, so it works with Trio's test clocks.

    Far beyond the sizes and the counts of its `retention`, if it has one, the oldest messages are deleted at once, not
    by `trim` later.
    """

    def __init__(
        self,
        *,
        clock_us: Callable[[], int] = wall_clock_us,
        scan_length: int = SCAN_LENGTH,
        retention: Retention | None = None,
    ) -> None:
        partitions = Partitions.empty(retention.budgets if retention else ROOTS)
        super().__init__(new_epoch(), partitions, clock_us)
        self._bounds = _bounds_of(retention) if retention else {}
        self._retention = retention
        self._scan_length = scan_length
        self._entries: dict[str, list[_Entry]] = {prefix: [] for prefix in partitions.by_prefix}
        self._keys: dict[bytes, FirstUse] = {}
        self._untrusted_keys: dict[int, list[bytes]] = defaultdict(list)
        """Keys that are forgotten with the messages at their positions."""
        self._cursors: dict[str, SavedCursor] = {}

    def store(self, units: Sequence[Unit], done: Stored) -> None:
        positions = {name: saved.position for name in moved_in(units) if (saved := self._cursors.get(name))}
        batch = self._new_batch(self._keys, positions, _memory_of)
        results = [batch.add_unit(unit) for unit in units]
        self._partitions = self._partitions.grown(batch.rows)
        for entry in batch.stored:
            self._entries[batch.prefix_of(entry[1].topic)].append(entry)
        self._keys.update(batch.keys)
        for key, first in batch.keys.items():
            if first.unsafe:
                self._untrusted_keys[first.position].append(key)
        for name, position in batch.cursors.items():
            self._save(name, position, batch.time_us)
        self._make_room(batch.rows)
        self._end_batch(units, batch, results, done)

    async def read(self, wanted: TopicFilter, *, after: int, limit: int, max_bytes: int, newest: bool = False) -> Page:
        await trio.lowlevel.checkpoint()
        scan = self._scan_range(wanted, after=after, newest=newest, length=self._scan_length)
        return _fill(self._selected_in(scan, wanted, newest=newest), limit, max_bytes, scan.end)

    async def position_before(self, time_us: int) -> int:
        await trio.lowlevel.checkpoint()
        position = self._lost_before(time_us)
        for entries in self._entries.values():
            older = bisect_left(entries, time_us, key=_time_us)
            position = max(position, _position(entries[older - 1]) if older else 0)
        return position

    async def cursors(self, prefix: str = "") -> Sequence[SavedCursor]:
        await trio.lowlevel.checkpoint()
        return [cursor for name, cursor in sorted(self._cursors.items()) if name.startswith(prefix)]

    async def trim(self, retention: Retention, *, now_us: int) -> bool:
        await trio.lowlevel.checkpoint()
        if self._retention and retention != self._retention:
            self._retention, self._bounds = retention, _bounds_of(retention)
        if retention.budgets.keys() != self._partitions.budgets.prefixes:
            self._regroup(retention.budgets)
        more = [self._trim_partition(prefix, limits) for prefix, limits in retention.limits(now_us).items()]
        return self._forget_keys(retention.keys_before_us(now_us)) or any(more)

    async def delete(self, positions: Sequence[int]) -> DeletionStep:
        await trio.lowlevel.cancel_shielded_checkpoint()
        step, rest = positions[:STEP_ROWS], positions[STEP_ROWS:]
        number = sum(self._delete_from(prefix, step) for prefix in self._entries)
        self._forget(step)
        return DeletionStep(number, rest)

    async def probe(self) -> None:
        await trio.lowlevel.checkpoint()

    async def _count(self, wanted: TopicFilter, scan: ScanRange, limit: int) -> tuple[int, int]:
        await trio.lowlevel.checkpoint()
        found = list(islice(self._selected_in(scan, wanted, newest=False), limit))
        return len(found), _time_us(found[0]) if found else 0

    async def _find_copies(self, low: int, high: int) -> Sequence[Copy]:
        await trio.lowlevel.checkpoint()
        found = [message for _, message in self._selected_in(ScanRange(low, high, high, 0), EVERYTHING, newest=False)]
        return find_copies(
            self._shared,
            [(one.position, one.topic, (one.routed_from, one.replay_of, one.duplicate_of)) for one in found],
        )

    async def _first_use(self, once: Once) -> FirstUse | None:
        await trio.lowlevel.checkpoint()
        return self._keys.get(digest(once))

    def _selected_in(self, scan: ScanRange, wanted: TopicFilter, *, newest: bool) -> Iterator["_Entry"]:
        prefixes = self._partitions.budgets.touched_by(wanted)
        parts = [_within(self._entries[prefix], scan, newest=newest) for prefix in prefixes]
        selects = cache(wanted.matches)
        return (entry for entry in merge(*parts, key=_position, reverse=newest) if selects(entry[1].topic))

    def _regroup(self, prefixes: Iterable[str]) -> None:
        partitions = self._partitions.regrouped(prefixes)
        entries = {prefix: list[_Entry]() for prefix in prefixes}
        for entry in sorted(chain(*self._entries.values()), key=_position):
            entries[partitions.budgets.of(entry[1].topic)].append(entry)
        self._entries = entries
        self._partitions = partitions.counting(
            (prefix, len(these), sum([row[2] for row, _ in these]), _time_us(these[0]))
            for prefix, these in entries.items()
            if these
        )

    def _make_room(self, prefixes: Iterable[str]) -> None:
        """Delete what exceeds the limits by far: what publishers send in a second may be a gigabyte."""
        for prefix in self._bounds.keys() & prefixes:
            limits, far_beyond = self._bounds[prefix]
            if self._partitions.by_prefix[prefix].due(far_beyond):
                while self._trim_partition(prefix, limits):
                    pass

    def _save(self, name: str, saved: Noted | None, time_us: int) -> None:
        if saved is None:
            self._cursors.pop(name, None)
        else:
            self._cursors[name] = SavedCursor(name, saved.position, time_us, saved.note)

    def _trim_partition(self, prefix: str, limits: RetentionLimits) -> bool:
        partition, entries = self._partitions.by_prefix[prefix], self._entries[prefix]
        if not partition.due(limits):
            return False
        oldest = [row for row, _ in entries[:STEP_ROWS]]
        taken = partition.doomed(oldest, limits)
        for position, _, _ in oldest[:taken]:
            for key in self._untrusted_keys.pop(position, ()):
                self._keys.pop(key, None)
        del entries[:taken]
        self.trimmed += taken
        # All may have been deleted by somebody.
        partition = partition.shrunk(oldest, taken) if oldest else replace(partition, passed=partition.head)
        self._partitions = self._partitions.updated({prefix: partition})
        return partition.due(limits)

    def _delete_from(self, prefix: str, positions: Sequence[int]) -> int:
        entries, gone = self._entries[prefix], []
        for position in positions:
            index = bisect_left(entries, position, key=_position)
            if index < len(entries) and _position(entries[index]) == position:
                gone.append(entries.pop(index)[0])
        self._partitions = self._partitions.without({prefix: gone})
        return len(gone)

    def _forget_keys(self, before_us: int) -> bool:
        oldest = islice(self._keys.items(), STEP_ROWS)
        expired = [(key, use.position) for key, use in oldest if use.time_us < before_us]
        for key, position in expired:
            del self._keys[key]
            self._untrusted_keys.pop(position, None)
        return len(expired) == STEP_ROWS


_Entry = tuple[Row, Message]


def _bounds_of(retention: Retention) -> dict[str, tuple[RetentionLimits, RetentionLimits]]:
    """Limits of each budget, and those far beyond them."""
    # At this time, nothing is old.
    return {
        prefix: (one, replace(one, max_bytes=one.max_bytes * (1 + SLACK), max_count=one.max_count * (1 + SLACK)))
        for prefix, one in retention.limits(0).items()
    }


def _memory_of(message: Message) -> int:
    return message.size + MESSAGE_BYTES + HEADER_BYTES * len(message.headers)


def _position(entry: _Entry) -> int:
    return entry[0][0]


def _time_us(entry: _Entry) -> int:
    return entry[0][1]


def _within(entries: list[_Entry], scan: ScanRange, *, newest: bool) -> Iterator[_Entry]:
    first = bisect_right(entries, scan.low, key=_position)
    last = bisect_right(entries, scan.high, key=_position)
    indices = range(last - 1, first - 1, -1) if newest else range(first, last)
    return (entries[index] for index in indices)


def _fill(found: Iterable[_Entry], limit: int, max_bytes: int, end: int) -> Page:
    messages: list[Message] = []
    for _, message in found:
        max_bytes -= message.size
        if len(messages) >= limit or (messages and max_bytes < 0):
            return Page(messages, messages[-1].position)
        messages.append(message)
    return Page(messages, end)
