"""The log on disk: one SQLite file in the data directory, written by one connection and read by a few.

SQLite runs in worker threads, so nothing here blocks the event loop.
"""

import logging
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TypedDict, TypeVar

import trio

from ..errors import Damaged, Unavailable, system_reason
from ..protocol.message import Draft, wall_clock_us
from ..protocol.topics import TopicFilter
from . import sqlite_damage as damage
from . import sqlite_keys as keys
from . import sqlite_queries as queries
from .contract import Page, SavedCursor
from .deduplication import Batch, Outcome
from .engine import Engine, ScanRange, TopicHeads
from .retention import PARTITIONS, Partition, Retention, RetentionLimits, dense_after
from .sqlite_file import LogFile, cannot_open, give_back, is_full, open_log_file, probe

# After a restart all subscribers reconnect at once. For this many of the newest messages, "nothing new" is known
# without a scan for each of them.
PRIMED = 10_000
# Interval for deleting expired keys and free pages while no message is due: each check costs a commit.
REST_US = 60_000_000

T = TypeVar("T")

logger = logging.getLogger(__package__)


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
        try:
            make = partial(SqliteLog, file, clock_us=clock_us, scan_length=scan_length, primed=primed)
            log = await trio.to_thread.run_sync(make)
        except (sqlite3.DatabaseError, MemoryError, ValueError) as error:
            raise cannot_open(directory, error) from error
        yield log
    finally:
        # Shielded: a hub that is cancelled still has to checkpoint the write-ahead log and release the lock.
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(file.close)


class SqliteLog(Engine):
    """Log on disk. `append` returns after the messages have reached the disk. Opened by `open_sqlite_log`."""

    def __init__(self, file: LogFile, *, clock_us: Callable[[], int], scan_length: int, primed: int) -> None:
        super().__init__(queries.load_epoch(file.writer), queries.load_partitions(file.writer), clock_us)
        self._file = file
        self._gone = ""
        """Reason why nothing is written any more, if the file was found to be gone."""
        self._damage_told = False
        self._writer = file.writer
        self._readers = list(file.readers)
        self._scan_length = scan_length
        # A task waits for a connection here, without occupying one of Trio's threads.
        self._may_write = trio.CapacityLimiter(1)
        self._may_read = trio.CapacityLimiter(len(self._readers))
        self._prime(max(0, self.head - primed))
        self._rests_until_us = 0
        self._has_earlier_keys = self._find_earlier_keys()

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
        bounds: _Bounds = {"limit": limit, "max_bytes": max_bytes, "newest": newest}

        def load(reader: sqlite3.Connection) -> Page:
            try:
                return queries.load_page(reader, self.epoch, wanted, scan, **bounds)
            except damage.GARBLED:
                return damage.load_readable(reader, self.epoch, wanted, scan, **bounds)

        page = await self._read(load)
        if page.damaged and not self._damage_told:
            self._damage_told = True
            logger.error(
                "the log is damaged around position %d: what cannot be read is reported to subscribers as a gap",
                page.next_after,
            )
        return page

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
        try:
            self._partitions, more = await self._write(partial(self._make_room, partial(self._trim, limits)))
        # Garbled rows are a ValueError or TypeError.
        except (Damaged, ValueError, TypeError):
            more = await self._trim_past_damage(limits)
        # Not within the transaction above: `executescript`, which this uses, commits an open transaction first.
        more |= await self._write(partial(self._make_room, self._give_back))
        self._rests_until_us = 0 if more else now_us + REST_US
        return more

    async def probe(self) -> None:
        await self._write(self._probe)

    async def _write(self, work: Callable[[], T]) -> T:
        def write() -> T:
            self._check_file()
            result = work()
            # Again after the commit: whatever is in a file that is gone by now must not be acknowledged.
            self._check_file()
            return result

        try:
            return await trio.to_thread.run_sync(write, limiter=self._may_write)
        except (sqlite3.DatabaseError, MemoryError, OSError) as error:
            # A garbled page number beyond the file's largest is reported as a full disk.
            if is_full(error) and self._file.reserve.has_room():
                raise Damaged(f"the hub cannot write to its log: {error}, although the disk has room") from error
            raise _unavailable("write to", error) from error

    async def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        def borrow() -> T:
            reader = self._readers.pop()
            try:
                return work(reader)
            finally:
                self._readers.append(reader)

        try:
            return await trio.to_thread.run_sync(borrow, limiter=self._may_read)
        except (sqlite3.DatabaseError, MemoryError) as error:
            raise _unavailable("read", error) from error

    def _check_file(self) -> None:
        """Raise `Unavailable` from the moment on when the file was found to be gone, even if another appears."""
        if self._gone:
            raise Unavailable(self._gone)
        try:
            self._file.check()
        except Unavailable as error:
            self._gone = str(error)
            raise

    def _prime(self, after: int) -> None:
        try:
            self._heads = TopicHeads(after)
            self._heads.add(queries.load_topics(self._writer, ScanRange(after, self.head, self.head, self.dense)))
        except damage.GARBLED as error:
            damage.raise_unless_damage(error)
            # Then every subscription looks into the file.
            self._heads = TopicHeads(self.head)

    def _find_earlier_keys(self) -> bool:
        try:
            return keys.has_earlier_keys(self._writer)
        except damage.GARBLED as error:
            damage.raise_unless_damage(error)
            # They are looked for with each draft, in case that there are any.
            return True

    def _make_room(self, work: Callable[[], T]) -> T:
        """Do work that makes room on the disk. If the disk is full, the reserve is given up for it first."""
        try:
            return work()
        except sqlite3.OperationalError:
            # A full disk has several errors, and a disk that fails otherwise fails again.
            self._file.reserve.release()
            # Moves what is in the write-ahead log into the file, so that the log is written from its start again.
            with suppress(sqlite3.OperationalError):
                self._writer.execute("PRAGMA wal_checkpoint(PASSIVE)")
            return work()

    def _append(
        self, drafts: Sequence[Draft], cursors: Mapping[str, int | None]
    ) -> tuple[list[Partition], Batch, Sequence[Outcome]]:
        self._file.reserve.hold()
        with queries.transaction(self._writer):
            batch = self._new_batch(keys.first_uses(self._writer, drafts, earlier=self._has_earlier_keys))
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
                        self._writer,
                        partitions[unsafe],
                        limit,
                        unsafe=unsafe,
                        scan_length=self._scan_length,
                        dense=dense_after(partitions),
                    )
                lost = partitions[unsafe].lost if unsafe else 0
                more |= keys.forget_keys(self._writer, limit, lost=lost, unsafe=unsafe)
                more |= partitions[unsafe].due(limit)
            queries.save_partitions(self._writer, partitions)
        # After the commit; once they have expired, no append looks for them any more.
        self._has_earlier_keys = self._has_earlier_keys and self._find_earlier_keys()
        return partitions, more

    async def _trim_past_damage(self, limits: Sequence[RetentionLimits]) -> bool:
        # In two commits, the messages counted as lost first: a crash in between only leaves them in the file.
        self._partitions, doomed = await self._write(partial(self._pass_damage, limits))
        return await self._write(partial(self._delete_past_damage, limits, doomed))

    def _pass_damage(self, limits: Sequence[RetentionLimits]) -> tuple[list[Partition], list[int]]:
        partitions = list(self._partitions)
        doomed: list[int] = []
        for unsafe, limit in zip(PARTITIONS, limits, strict=True):
            if partitions[unsafe].due(limit):
                partitions[unsafe], positions = damage.pass_step(
                    self._writer, partitions, limit, unsafe=unsafe, scan_length=self._scan_length
                )
                doomed += positions
        with queries.transaction(self._writer):
            queries.save_partitions(self._writer, partitions)
        return partitions, doomed

    def _delete_past_damage(self, limits: Sequence[RetentionLimits], doomed: Sequence[int]) -> bool:
        damage.delete(self._writer, doomed)
        more = False
        for unsafe, limit in zip(PARTITIONS, limits, strict=True):
            lost = self._partitions[unsafe].lost if unsafe else 0
            more |= damage.forget_keys(self._writer, limit, lost=lost, unsafe=unsafe)
            more |= self._partitions[unsafe].due(limit)
        return more

    def _give_back(self) -> bool:
        reserve = self._file.reserve
        try:
            more = give_back(self._writer, keep_spare=reserve.held)
        except (sqlite3.DatabaseError, MemoryError) as error:
            damage.raise_unless_damage(error)
            # Pages that cannot be given back are used again.
            more = False
        if not more:
            with suppress(OSError):
                reserve.hold()
        return more

    def _probe(self) -> None:
        self._file.reserve.hold()
        with queries.transaction(self._writer):
            probe(self._writer)


class _Bounds(TypedDict):
    limit: int
    max_bytes: int
    newest: bool


def _unavailable(action: str, error: sqlite3.DatabaseError | MemoryError | OSError) -> Unavailable:
    if isinstance(error, OSError):
        return Unavailable(f"the hub cannot {action} its log: {system_reason(error)}")
    kind = Damaged if damage.is_damage(error) else Unavailable
    return kind(f"the hub cannot {action} its log: {error}")
