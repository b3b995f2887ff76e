"""The log on disk: one SQLite file in the data directory, written by one connection and read by a few.

SQLite runs in worker threads, so nothing here blocks the event loop.
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
from . import sqlite_queries as queries
from .contract import Page, SavedCursor
from .deduplication import Batch, Outcome
from .engine import Engine, TopicHeads
from .retention import PARTITIONS, Partition, Retention, RetentionLimits
from .sqlite_file import LogFile, open_log_file

# After a restart all subscribers reconnect at once. For this many of the newest messages, "nothing new" is known
# without a scan for each of them.
PRIMED = 10_000
# Interval for deleting expired keys and free pages while no message is due: each check costs a commit.
REST_US = 60_000_000

T = TypeVar("T")


@asynccontextmanager
async def open_sqlite_log(
    directory: Path,
    *,
    clock_us: Callable[[], int] = wall_clock_us,
    scan_length: int = queries.SCAN_LENGTH,
    primed: int = PRIMED,
) -> AsyncIterator["SqliteLog"]:
    """The log in `directory`, locked against other processes until the block ends.

    Raises the same errors as `open_log_file`.
    """
    file = await trio.to_thread.run_sync(open_log_file, directory)
    try:
        yield await trio.to_thread.run_sync(
            partial(SqliteLog, file, clock_us=clock_us, scan_length=scan_length, primed=primed)
        )
    finally:
        # Shielded: a hub that is cancelled still has to checkpoint the write-ahead log and release the lock.
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(file.close)


class SqliteLog(Engine):
    """Log on disk. `append` returns after the messages have reached the disk. Opened by `open_sqlite_log`."""

    def __init__(self, file: LogFile, *, clock_us: Callable[[], int], scan_length: int, primed: int) -> None:
        super().__init__(queries.load_epoch(file.writer), queries.load_partitions(file.writer), clock_us)
        self._writer = file.writer
        self._readers = list(file.readers)
        self._scan_length = scan_length
        # A task waits for a connection here, without occupying one of Trio's threads.
        self._may_write = trio.CapacityLimiter(1)
        self._may_read = trio.CapacityLimiter(len(self._readers))
        primed_from = max(0, self.head - primed)
        self._heads = TopicHeads(primed_from)
        self._heads.add(queries.load_topics(self._writer, primed_from))
        self._rests_until_us = 0
        self._has_earlier_keys = queries.has_earlier_keys(self._writer)

    async def append(self, drafts: Sequence[Draft], *, cursors: Mapping[str, int | None] = {}) -> Sequence[Outcome]:
        # Replaced only after the commit, so that a failed append leaves memory and disk in agreement.
        self._partitions, batch, outcomes = await self._write(partial(self._append, drafts, cursors))
        self._heads.add(batch.positions)
        return outcomes

    async def read(self, wanted: TopicFilter, *, after: int, limit: int, max_bytes: int, newest: bool = False) -> Page:
        scan = self._scan_range(wanted, after=after, newest=newest, length=self._scan_length)
        if scan.low >= scan.high:
            await trio.lowlevel.checkpoint()
            return Page([], scan.end)
        load = partial(queries.load_page, limit=limit, max_bytes=max_bytes, newest=newest)
        return await self._read(lambda reader: load(reader, self.epoch, wanted, scan))

    async def position_before(self, time_us: int) -> int:
        head = self.head
        position = await self._read(lambda reader: queries.position_before(reader, head, time_us))
        return max(position, self._lost_before(time_us))

    async def cursors(self, prefix: str = "") -> Sequence[SavedCursor]:
        return await self._read(lambda reader: queries.load_cursors(reader, prefix))

    async def trim(self, retention: Retention, *, now_us: int) -> bool:
        limits = [RetentionLimits.of(retention, unsafe=unsafe, now_us=now_us) for unsafe in PARTITIONS]
        due = any(partition.due(limit) for partition, limit in zip(self._partitions, limits, strict=True))
        # Not beyond its interval, in case the clock was set back.
        if not due and now_us < self._rests_until_us <= now_us + REST_US:
            await trio.lowlevel.checkpoint()
            return False
        self._partitions, more = await self._write(partial(self._trim, limits))
        # Not within the transaction above: `executescript`, which this uses, commits an open transaction first.
        more |= await self._write(partial(queries.give_back, self._writer))
        self._rests_until_us = 0 if more else now_us + REST_US
        return more

    async def probe(self) -> None:
        await self._write(self._probe)

    async def _write(self, work: Callable[[], T]) -> T:
        try:
            return await trio.to_thread.run_sync(work, limiter=self._may_write)
        except sqlite3.OperationalError as error:
            raise Unavailable(f"the hub cannot write to its log: {error}") from error

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
            raise Unavailable(f"the hub cannot read its log: {error}") from error

    def _append(
        self, drafts: Sequence[Draft], cursors: Mapping[str, int | None]
    ) -> tuple[list[Partition], Batch, Sequence[Outcome]]:
        with queries.transaction(self._writer):
            batch = self._new_batch(queries.first_uses(self._writer, drafts, earlier=self._has_earlier_keys))
            outcomes = [batch.add(draft) for draft in drafts]
            partitions = self._grown(batch)
            queries.insert_batch(self._writer, batch)
            queries.save_partitions(self._writer, partitions)
            queries.save_cursors(self._writer, cursors, batch.time_us)
        return partitions, batch, outcomes

    def _trim(self, limits: Sequence[RetentionLimits]) -> tuple[list[Partition], bool]:
        partitions, more = list(self._partitions), False
        with queries.transaction(self._writer):
            for unsafe, limit in zip(PARTITIONS, limits, strict=True):
                if partitions[unsafe].due(limit):
                    partitions[unsafe] = queries.trim_partition(
                        self._writer, partitions[unsafe], limit, unsafe=unsafe, scan_length=self._scan_length
                    )
                lost = partitions[unsafe].lost if unsafe else 0
                more |= queries.forget_keys(self._writer, limit, lost=lost, unsafe=unsafe)
                more |= partitions[unsafe].due(limit)
            queries.save_partitions(self._writer, partitions)
        # After the commit; once they have expired, no append looks for them any more.
        self._has_earlier_keys = self._has_earlier_keys and queries.has_earlier_keys(self._writer)
        return partitions, more

    def _probe(self) -> None:
        with queries.transaction(self._writer):
            queries.probe(self._writer)
