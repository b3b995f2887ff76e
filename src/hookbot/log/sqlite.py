"""The log on disk: one SQLite file in the data directory, written by one connection and read by a few.

SQLite runs in worker threads, so nothing here blocks the event loop.
"""

import logging
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping, Sequence, Set
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import trio

from ..errors import Damaged, Unavailable
from ..protocol.message import Once, wall_clock_us
from ..protocol.topics import TopicFilter
from ..threads import hub_threads
from . import sqlite_damage as damage
from . import sqlite_keys as keys
from . import sqlite_queries as queries
from . import sqlite_retention as totals
from .batch import Batch, moved_in
from .budgets import Partitions
from .contract import DeletionStep, Page, Result, SavedCursor, Stored, Unit
from .copies import Copy
from .deduplication import FirstUse, digest
from .engine import Engine, ScanRange, TopicHeads
from .retention import Retention, RetentionLimits
from .sealing import NO_KEYS, Sealing
from .sqlite_connections import Connections
from .sqlite_copies import load_copies
from .sqlite_deletion import delete_step
from .sqlite_errors import GARBLED, cannot_open, raise_unless_damage
from .sqlite_file import LogFile, open_log_file, probe
from .sqlite_regrouping import Regrouping
from .sqlite_schema import load_ancestors, require_finished
from .writer_thread import WriterThread

# After a restart all subscribers reconnect at once. For this many of the newest messages, "nothing new" is known
# without a scan for each of them.
PRIMED = 10_000
# Interval for deleting expired keys and free pages while no message is due: each check costs a commit.
REST_US = 60_000_000
# Nothing is stored meanwhile.
ERASE_WAIT_S = 0.5

_Appended = tuple[Partitions, Batch, Sequence[Result]]

logger = logging.getLogger(__package__)


@asynccontextmanager
async def open_sqlite_log(
    directory: Path,
    *,
    clock_us: Callable[[], int] = wall_clock_us,
    scan_length: int = queries.SCAN_LENGTH,
    primed: int = PRIMED,
    sealing: Sealing = NO_KEYS,
) -> AsyncIterator["SqliteLog"]:
    """The log in `directory`, locked against other processes until the block ends.

    Raises the same errors as `open_log_file`, and `ConfigError` for a copy that is not finished, and for a log whose
    newest message `sealing` cannot open.
    """
    file = await trio.to_thread.run_sync(open_log_file, directory, limiter=hub_threads())
    thread = WriterThread(trio.lowlevel.current_trio_token())
    try:
        try:
            await trio.to_thread.run_sync(require_finished, file.readers[0], directory, limiter=hub_threads())
            await trio.to_thread.run_sync(sealing.check, file.readers[0], limiter=hub_threads())
            connections = Connections(file, thread)
            make = partial(SqliteLog, file, connections, sealing, clock_us=clock_us)
            make = partial(make, scan_length=scan_length, primed=primed)
            log = await trio.to_thread.run_sync(make, limiter=hub_threads())
        except GARBLED as error:
            raise cannot_open(directory, error) from error
        yield log
    finally:
        # Shielded: a hub that is cancelled still has to checkpoint the write-ahead log and release the lock.
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(thread.stop, limiter=hub_threads())
            await trio.to_thread.run_sync(file.close, limiter=hub_threads())


class SqliteLog(Engine):
    """Log on disk. `append` returns after the messages have reached the disk. Opened by `open_sqlite_log`."""

    def __init__(
        self,
        file: LogFile,
        connections: Connections,
        sealing: Sealing,
        *,
        clock_us: Callable[[], int],
        scan_length: int,
        primed: int,
    ) -> None:
        reader = file.readers[0]
        super().__init__(queries.load_epoch(reader), totals.load_partitions(reader), clock_us)
        self._ancestors = load_ancestors(reader)
        self._connections = connections
        self._sealing = sealing
        self._damage_told = False
        self._scan_length = scan_length
        self._prime(reader, max(0, self.head - primed))
        self._rests_until_us = 0
        self._regrouping: Regrouping | None = None
        # What can only be read may not be migrated yet.
        self._has_earlier_keys = file.only_read or _find_earlier_keys(reader)

    def store(self, units: Sequence[Unit], done: Stored) -> None:
        def stored(result: _Appended | Exception) -> None:
            if isinstance(result, Exception):
                done(result)
                return
            # Replaced only after the commit, so that a failed one leaves memory and disk in agreement.
            self._partitions, batch, results = result
            self._end_batch(units, batch, results, done)

        self._connections.store_soon(lambda writer: self._append(writer, units), stored)

    async def read(self, wanted: TopicFilter, *, after: int, limit: int, max_bytes: int, newest: bool = False) -> Page:
        scan = self._scan_range(wanted, after=after, newest=newest, length=self._scan_length)
        if scan.low >= scan.high:
            await trio.lowlevel.checkpoint()
            return Page([], scan.end)
        find = partial(damage.load_page, epoch=self.epoch, wanted=wanted, scan=scan, known=self._partitions)

        def load(reader: sqlite3.Connection) -> Page:
            return self._sealing.open(find(reader, limit=limit, max_bytes=max_bytes, newest=newest))

        page = await self._connections.read(load)
        if page.hole and not self._damage_told:
            self._damage_told = True
            logger.error(
                "the log is damaged around position %d: what cannot be read is reported to subscribers as a gap",
                page.next_after,
            )
        return page

    async def position_before(self, time_us: int) -> int:
        passed, head = min(one.passed for one in self._partitions.by_prefix.values()), self.head
        position = await self._connections.read(lambda reader: damage.position_before(reader, passed, head, time_us))
        return max(position, self._lost_before(time_us))

    async def cursors(self, prefix: str = "") -> Sequence[SavedCursor]:
        return await self._connections.read(lambda reader: queries.load_cursors(reader, prefix))

    async def trim(self, retention: Retention, *, now_us: int) -> bool:
        if self._connections.is_erasing:
            # Retention would move rows to where it is erased already.
            await self._give_back()
            return True
        limits = retention.limits(now_us)
        if self._partitions.budgets.prefixes != limits.keys():
            await self._regroup(limits.keys())
            return True
        due = self._partitions.due_first(limits)
        # Not beyond its interval, in case the clock was set back.
        rests = now_us < self._rests_until_us <= now_us + REST_US
        if rests and not (due or self._connections.must_erase):
            await trio.lowlevel.checkpoint()
            return False
        try:
            trim = partial(self._trim, limits=limits, keys_before_us=retention.keys_before_us(now_us))
            partitions, more = await self._connections.free(trim)
            self._shrink(partitions)
        except Damaged:
            more = await self._trim_past_damage(limits, retention.keys_before_us(now_us))
        # Not within the transaction above: `executescript`, which this uses, commits an open transaction first.
        more |= await self._give_back()
        self._rests_until_us = 0 if more else now_us + REST_US
        return more

    async def delete(self, positions: Sequence[int]) -> DeletionStep:
        work = partial(delete_step, partitions=self._partitions, positions=positions)
        self._connections.has_deleted()
        self._partitions, deletion = await self._connections.free(work)
        # Some of it may be counted already.
        self._regrouping = None
        self._forget(positions[: len(positions) - len(deletion.rest)])
        return deletion

    async def erase(self) -> bool:
        return await self._connections.erase(wait_s=ERASE_WAIT_S)

    async def probe(self) -> None:
        await self._connections.store(_probe)

    async def _count(self, wanted: TopicFilter, scan: ScanRange, limit: int) -> tuple[int, int]:
        return await self._connections.read(lambda reader: queries.count_messages(reader, wanted, scan, limit))

    async def _find_copies(self, low: int, high: int) -> Sequence[Copy]:
        return await self._connections.read(partial(load_copies, shared=self._shared, low=low, high=high))

    async def _first_use(self, once: Once) -> FirstUse | None:
        find = partial(keys.first_uses, asked=(once,), earlier=self._has_earlier_keys)
        return (await self._connections.read(find)).get(digest(once))

    def _prime(self, reader: sqlite3.Connection, after: int) -> None:
        try:
            self._heads = TopicHeads(after)
            scan = ScanRange(after, self.head, self.head, self._partitions.dense)
            self._heads.add(queries.load_topics(reader, scan))
        except GARBLED as error:
            raise_unless_damage(error)
            # Then every subscription looks into the file.
            self._heads = TopicHeads(self.head)

    def _append(self, writer: sqlite3.Connection, units: Sequence[Unit]) -> _Appended:
        asked = [once for unit in units for draft in unit.drafts for once in draft.once]
        with queries.transaction(writer, self.sync_times):
            known = keys.first_uses(writer, asked, earlier=self._has_earlier_keys)
            batch = self._new_batch(known, queries.load_positions(writer, moved_in(units)))
            results = [batch.add_unit(unit) for unit in units]
            partitions = self._partitions.grown(batch.rows)
            queries.insert_batch(writer, batch, self._sealing)
            totals.save_partitions(writer, partitions, self._partitions)
            queries.save_cursors(writer, batch.cursors, batch.time_us)
        return partitions, batch, results

    def _trim(
        self, writer: sqlite3.Connection, limits: Mapping[str, RetentionLimits], keys_before_us: int
    ) -> tuple[Partitions, bool]:
        with queries.transaction(writer):
            partitions = totals.trim_step(writer, self._partitions, limits, scan_length=self._scan_length)
            steps = [keys.forget_keys(writer, keys_before_us, unsafe=unsafe) for unsafe in (False, True)]
        # After the commit; once they have expired, no append looks for them any more.
        self._has_earlier_keys = self._has_earlier_keys and _find_earlier_keys(writer)
        return partitions, any(steps) or bool(partitions.due_first(limits))

    async def _give_back(self) -> bool:
        if not self._connections.must_erase:
            return await self._connections.give_back()
        # In case that whoever deleted could not wait for it.
        with suppress(Unavailable):
            return await self._connections.erase(wait_s=0)
        return False

    async def _trim_past_damage(self, limits: Mapping[str, RetentionLimits], keys_before_us: int) -> bool:
        # In two commits, the messages counted as lost first: a crash in between only leaves them in the file.
        partitions, doomed = await self._connections.free(lambda writer: self._pass_damage(writer, limits))
        self._shrink(partitions)

        def delete(writer: sqlite3.Connection) -> bool:
            damage.delete(writer, doomed)
            steps = [damage.forget_keys(writer, keys_before_us, unsafe=unsafe) for unsafe in (False, True)]
            return any(steps)

        more = await self._connections.free(delete)
        return more or bool(self._partitions.due_first(limits))

    def _shrink(self, partitions: Partitions) -> None:
        self.trimmed += self._partitions.count - partitions.count
        self._partitions = partitions

    def _pass_damage(
        self, writer: sqlite3.Connection, limits: Mapping[str, RetentionLimits]
    ) -> tuple[Partitions, list[int]]:
        partitions = self._partitions
        doomed: list[int] = []
        for prefix in partitions.due_first(limits):
            passed, positions = damage.pass_step(
                writer, partitions, prefix, limits[prefix], scan_length=self._scan_length
            )
            partitions = partitions.updated({prefix: passed})
            doomed += positions
        with queries.transaction(writer):
            totals.save_partitions(writer, partitions, self._partitions)
        return partitions, doomed

    async def _regroup(self, prefixes: Set[str]) -> None:
        """Count one step of the messages for other budgets; the last one replaces those that there are."""
        regrouping = self._regrouping
        if regrouping is None or regrouping.prefixes != prefixes:
            regrouping = self._regrouping = Regrouping(self._partitions, prefixes)
        try:
            count = partial(regrouping.count, now=self._partitions, limit=self._scan_length)
            regrouped = await self._connections.free(count)
        except Damaged:
            regrouped = await self._connections.free(partial(regrouping.count_past_damage, now=self._partitions))
        if regrouped:
            self._partitions, self._regrouping = regrouped, None


def _probe(writer: sqlite3.Connection) -> None:
    with queries.transaction(writer):
        probe(writer)


def _find_earlier_keys(connection: sqlite3.Connection) -> bool:
    try:
        return keys.has_earlier_keys(connection)
    except GARBLED as error:
        raise_unless_damage(error)
        # They are looked for with each draft, in case that there are any.
        return True
