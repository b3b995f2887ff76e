"""The log on disk: one SQLite file in the hub's data directory, written by one connection, read by a few.

All of SQLite runs in worker threads; nothing here blocks the event loop.
"""

import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

import trio

from ..errors import Unavailable
from ..protocol.message import Draft, wall_clock_us
from ..protocol.topics import TopicFilter
from . import sqlite_queries as tables
from .contract import Page, SavedCursor, ScanRange
from .deduplication import Batch, Outcome
from .engine import TopicHeads
from .retention import PARTITIONS, Partition, Retention, RetentionLimits, lost_before, lost_up_to, passed_up_to
from .sqlite_file import LogFile, open_log_file

PRIMED = 10_000  # messages that are noted as newest at the start, when all listeners come back at once
REST_US = 60_000_000  # how often expired keys and free pages are looked for when nothing else is due

T = TypeVar("T")


@asynccontextmanager
async def open_sqlite_log(
    directory: Path, *, clock_us: Callable[[], int] = wall_clock_us
) -> AsyncIterator["SqliteLog"]:
    """The log in `directory`, which no other hub can open meanwhile.

    Raises `ConfigError` when another one has it open, when it is from a newer hookbot, no log at all, or out of reach.
    """
    file = await trio.to_thread.run_sync(open_log_file, directory)
    try:
        yield await trio.to_thread.run_sync(SqliteLog, file, clock_us)
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(file.close)


class SqliteLog:
    """A log on disk: what `append` returned has been written through to it. Made by `open_sqlite_log`."""

    def __init__(self, file: LogFile, clock_us: Callable[[], int]) -> None:
        self._clock_us = clock_us
        self._writer = file.writer
        self._readers = list(file.readers)
        self._may_write = trio.CapacityLimiter(1)
        self._may_read = trio.CapacityLimiter(len(self._readers))
        self.epoch = tables.load_epoch(self._writer)
        self._halves = tables.load_halves(self._writer)
        primed_from = max(0, self.head - PRIMED)
        self._newest = TopicHeads(primed_from)
        self._newest.add(tables.load_topics(self._writer, primed_from))
        self._rests_until_us = 0

    @property
    def head(self) -> int:
        """The position of the newest message ever appended; 0 before the first."""
        return max(half.head for half in self._halves)

    async def append(self, drafts: Sequence[Draft], *, cursors: Mapping[str, int | None] = {}) -> Sequence[Outcome]:
        """Store all drafts and cursors in one durable commit."""
        self._halves, admission, outcomes = await self._write(partial(self._append, drafts, cursors))
        self._newest.add((message.topic, row[0]) for row, message in admission.stored)
        return outcomes

    async def read(self, wanted: TopicFilter, *, after: int, limit: int, max_bytes: int, newest: bool = False) -> Page:
        """The next messages that `wanted` selects after position `after`."""
        stretch = ScanRange.of(
            after=after,
            newest=newest,
            floor=passed_up_to(wanted, self._halves),
            top=self._newest.of(wanted),
            head=self.head,
            length=tables.STRETCH,
        )
        if stretch.low >= stretch.high:
            await trio.lowlevel.checkpoint()
            return Page([], stretch.end)
        load = partial(tables.load_page, limit=limit, max_bytes=max_bytes, newest=newest)
        return await self._read(lambda reader: load(reader, self.epoch, wanted, stretch))

    async def position_before(self, time_us: int) -> int:
        """The position after which everything was stored at or after `time_us`."""
        head = self.head
        position = await self._read(lambda reader: tables.position_before(reader, head, time_us))
        return max(position, lost_before(self._halves, time_us))

    def lost_up_to(self, wanted: TopicFilter) -> int:
        """The highest position that retention may have taken from what `wanted` selects; 0 if nothing was."""
        return lost_up_to(wanted, self._halves)

    async def cursors(self, prefix: str = "") -> Sequence[SavedCursor]:
        """All saved cursors whose name begins with `prefix`, by name."""
        return await self._read(lambda reader: tables.load_cursors(reader, prefix))

    async def trim(self, retention: Retention, *, now_us: int) -> bool:
        """Delete one bounded step of what `retention` no longer keeps; True when there is more to do."""
        limits = [RetentionLimits.of(retention, unsafe=unsafe, now_us=now_us) for unsafe in PARTITIONS]
        due = any(half.due(limit) for half, limit in zip(self._halves, limits, strict=True))
        if not due and now_us < self._rests_until_us:
            await trio.lowlevel.checkpoint()
            return False
        self._halves, more = await self._write(partial(self._trim, limits))
        more |= await self._write(partial(tables.give_back, self._writer))
        self._rests_until_us = 0 if more else now_us + REST_US
        return more

    async def check(self) -> None:
        """Raises `Unavailable` unless a page can be written to the disk now."""
        await self._write(self._probe)

    async def _write(self, work: Callable[[], T]) -> T:
        try:
            return await trio.to_thread.run_sync(work, limiter=self._may_write)
        except sqlite3.OperationalError as error:
            raise Unavailable(f"the log cannot be written to: {error}") from error

    async def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        def borrow() -> T:
            reader = self._readers.pop()
            try:
                return work(reader)
            finally:
                self._readers.append(reader)

        try:
            return await trio.to_thread.run_sync(borrow, limiter=self._may_read)
        except sqlite3.OperationalError as error:
            raise Unavailable(f"the log cannot be read: {error}") from error

    def _append(
        self, drafts: Sequence[Draft], cursors: Mapping[str, int | None]
    ) -> tuple[list[Partition], Batch, Sequence[Outcome]]:
        time_us = max(self._clock_us(), *(half.head_us for half in self._halves))
        with tables.transaction(self._writer):
            admission = Batch(self.epoch, self.head, time_us, tables.first_uses(self._writer, drafts))
            outcomes = [admission.admit(draft) for draft in drafts]
            halves = [self._halves[unsafe].grown(admission.rows(unsafe=unsafe)) for unsafe in PARTITIONS]
            tables.insert_admitted(self._writer, admission)
            tables.save_halves(self._writer, halves)
            tables.save_cursors(self._writer, cursors, time_us)
        return halves, admission, outcomes

    def _trim(self, limits: Sequence[RetentionLimits]) -> tuple[list[Partition], bool]:
        halves, more = list(self._halves), False
        with tables.transaction(self._writer):
            for unsafe, limit in zip(PARTITIONS, limits, strict=True):
                if halves[unsafe].due(limit):
                    halves[unsafe] = tables.trim_half(self._writer, halves[unsafe], limit, unsafe=unsafe)
                lost = halves[unsafe].lost if unsafe else 0
                more |= tables.forget_keys(self._writer, limit, lost=lost, unsafe=unsafe)
                more |= halves[unsafe].due(limit)
            tables.save_halves(self._writer, halves)
        return halves, more

    def _probe(self) -> None:
        with tables.transaction(self._writer):
            tables.probe(self._writer)
