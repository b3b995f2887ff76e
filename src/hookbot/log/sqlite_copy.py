"""Copies from and to a log on disk: `copying` has the rest."""

# ruff: noqa: S608 - only constants of this house and numbers are formatted into statements

import logging
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, closing
from functools import partial
from pathlib import Path

import trio

from ..callbacks import T
from ..errors import ConfigError
from ..protocol.topics import EVERYTHING
from ..threads import hub_threads
from . import sqlite_damage as damage
from . import sqlite_keys as keys
from . import sqlite_queries as queries
from .budgets import Partitions
from .contract import SavedCursor
from .copying import (
    PART_BYTES,
    PART_KEYS,
    PART_MESSAGES,
    CopyPart,
    DeletedRow,
    LogState,
    LostRange,
    another_copy,
    not_new,
    stored_of,
)
from .deduplication import FirstUse
from .engine import ScanRange
from .retention import Partition
from .sqlite_deletion import load_deleted, replace_deleted
from .sqlite_errors import GARBLED, cannot_open
from .sqlite_file import FILE, connect_reader, locked, open_log_file
from .sqlite_retention import delete_messages, in_budget, load_partitions, save_partitions
from .sqlite_rows import insert_rows
from .sqlite_schema import STEPS, add_ancestor, check_version, copied_from, load_ancestors, require_finished
from .stored_message import StoredMessage

logger = logging.getLogger(__package__)


@asynccontextmanager
async def open_sqlite_source(directory: Path) -> AsyncIterator["SqliteSource"]:
    """The log in `directory`, which no hub opens until the block ends, to be copied from there.

    Raises `ConfigError` if there is none, if a hub has it open, or if it is of another version or not finished itself.
    """
    with ExitStack() as opened:
        yield await _run(directory, lambda: _open(directory, opened))


class SqliteSource:
    """A log on disk that is read whole. Opened by `open_sqlite_source`."""

    def __init__(self, directory: Path, reader: sqlite3.Connection) -> None:
        self.name = f"sqlite:{directory}"
        self._directory = directory
        self._reader = reader
        self._epoch = queries.load_epoch(reader)
        self._partitions = load_partitions(reader)

    async def state(self) -> LogState:
        partitions = self._partitions
        return LogState(
            epoch=self._epoch,
            head=partitions.head,
            head_us=partitions.head_us,
            count=partitions.count,
            deleted=partitions.deleted,
            dense=max(partition.dense for partition in partitions.by_prefix.values()),
            ancestors=load_ancestors(self._reader),
            earlier_keys=await _run(self._directory, lambda: _load_earlier_keys(self._reader)),
        )

    async def part(self, after: int) -> CopyPart:
        return await _run(self._directory, lambda: load_part(self._reader, self._epoch, self._partitions, after))

    async def deleted(self, after: int) -> Sequence[DeletedRow]:
        return await _run(self._directory, lambda: load_deleted(self._reader, after, PART_MESSAGES))

    async def keys(self, after: bytes) -> Mapping[bytes, FirstUse]:
        return await _run(self._directory, lambda: keys.load_keys(self._reader, after, PART_KEYS))

    async def cursors(self) -> Sequence[SavedCursor]:
        return await _run(self._directory, lambda: queries.load_cursors(self._reader, ""))


@asynccontextmanager
async def open_sqlite_target(directory: Path) -> AsyncIterator["SqliteTarget"]:
    """The log in `directory`, which no hub opens until the block ends, to be copied to.

    Raises the same errors as `open_log_file`.
    """
    with closing(await trio.to_thread.run_sync(open_log_file, directory, limiter=hub_threads())) as file:
        if file.only_read:
            raise ConfigError(f"the log in {directory} cannot be written: free some disk space")
        yield SqliteTarget(directory, file.writer)


class SqliteTarget:
    """A log on disk that is written whole. Opened by `open_sqlite_target`."""

    def __init__(self, directory: Path, writer: sqlite3.Connection) -> None:
        self.name = f"sqlite:{directory}"
        self._directory = directory
        self._writer = writer

    async def begin(self, source: str, state: LogState) -> tuple[int, int]:
        return await self._store(lambda: _begin(self._writer, self.name, source, state))

    async def newest(self) -> StoredMessage | None:
        def load() -> StoredMessage | None:
            partitions = load_partitions(self._writer)
            part = load_part(self._writer, queries.load_epoch(self._writer), partitions, partitions.head - 1)
            return part.messages[-1] if part.messages else None

        return await _run(self._directory, load)

    async def add(self, messages: Sequence[StoredMessage]) -> None:
        await self._store(lambda: _add(self._writer, messages))

    async def add_lost(self, lost: LostRange) -> None:
        # A position without a message is damage here, after `dense`.
        await trio.lowlevel.checkpoint()

    async def add_deleted(self, deleted: Sequence[DeletedRow]) -> None:
        await self._store(lambda: replace_deleted(self._writer, deleted))

    async def forget_keys(self) -> None:
        await self._store(lambda: self._writer.execute("DELETE FROM once"))

    async def add_keys(self, keys_read: Mapping[bytes, FirstUse]) -> None:
        await self._store(lambda: keys.insert_keys(self._writer, keys_read))

    async def finish(self, state: LogState, cursors: Sequence[SavedCursor]) -> None:
        passed = max(deleted.passed for deleted in state.deleted.values())
        for lost in state.lost_ranges:
            if lost.lost_up_to > max(lost.after, passed):
                logger.warning(
                    "positions %d to %d were lost in a failover, and a log on disk cannot tell so: listeners whose "
                    "position is before them are told of no gap",
                    lost.after + 1,
                    lost.lost_up_to,
                )
        await self._store(lambda: _finish(self._writer, state, cursors))

    async def _store(self, work: Callable[[], T]) -> T:
        def store() -> T:
            with queries.transaction(self._writer):
                return work()

        return await _run(self._directory, store)


def _open(directory: Path, opened: ExitStack) -> SqliteSource:
    path = directory.resolve() / FILE
    if not path.exists():
        raise ConfigError(f"there is no log in the directory {directory}")
    opened.enter_context(locked(directory, "stop it first"))
    # A hub that was killed has left what it committed last in the write-ahead log; otherwise none has to be made.
    was_closed = not path.with_name(f"{FILE}-wal").exists()
    reader = opened.enter_context(closing(connect_reader(path, immutable=was_closed)))
    if check_version(reader, path, newest=len(STEPS)) < len(STEPS):
        raise ConfigError(f"{path} is from an older hookbot: start and stop a hub of this version on it first")
    require_finished(reader, directory)
    return SqliteSource(directory, reader)


def load_part(connection: sqlite3.Connection, epoch: str, partitions: Partitions, after: int) -> CopyPart:
    """The messages after a position, as many as are copied at a time, up to damage; or what that has taken."""
    high = min(after + queries.SCAN_LENGTH, partitions.head)
    scan = ScanRange(after, high, high, partitions.dense)
    load = partial(damage.load_page, connection, epoch, EVERYTHING, scan, newest=False, known=partitions)
    page = load(limit=PART_MESSAGES, max_bytes=PART_BYTES)
    return CopyPart(stored_of(page.messages), page.next_after, damaged=bool(page.hole))


async def _run(directory: Path, work: Callable[[], T]) -> T:
    """Result of work in a thread. Raises `ConfigError` for damage, and for a disk that is full or fails."""
    try:
        return await trio.to_thread.run_sync(work, limiter=hub_threads())
    except (*GARBLED, OSError) as error:
        raise cannot_open(directory, error) from error


def _load_earlier_keys(connection: sqlite3.Connection) -> int:
    if not keys.has_earlier_keys(connection):
        return 0
    [[position]] = connection.execute("SELECT earlier_keys FROM identity")
    return int(position)


def _begin(writer: sqlite3.Connection, name: str, source: str, state: LogState) -> tuple[int, int]:
    [[head, count]] = writer.execute("SELECT (SELECT max(head) FROM budget), (SELECT count(*) FROM log WHERE size > 0)")
    if copied_from(writer):
        if queries.load_epoch(writer) != state.epoch:
            raise another_copy(name)
    elif head or queries.load_cursors(writer, ""):
        raise not_new(name)
    else:
        writer.execute("CREATE TABLE copying (source TEXT NOT NULL)")
        writer.execute("INSERT INTO copying VALUES (?)", (source,))
        writer.execute("UPDATE identity SET epoch = ?", (state.epoch,))
    return int(head), int(count)


def _add(writer: sqlite3.Connection, messages: Sequence[StoredMessage]) -> None:
    rows = []
    for message in messages:
        position, time_us, size, meta = message.stored
        rows.append(((position, time_us, size), message.topic, meta, message.body))
    queries.insert_messages(writer, rows)
    position, time_us, _ = rows[-1][0]
    # Or the log would seem damaged when it is opened again.
    writer.execute("UPDATE budget SET head = ?, head_us = ?", (position, time_us))


def _finish(writer: sqlite3.Connection, state: LogState, cursors: Sequence[SavedCursor]) -> None:
    for prefix, deleted in state.deleted.items():
        # What a hub has deleted between two attempts.
        condition, topics = in_budget(state.budgets, prefix)
        delete_messages(writer, f"position <= ? AND {condition}", (deleted.passed, *topics))
    dense = _find_dense(writer, state)
    save_partitions(writer, Partitions.of({prefix: _count(writer, state, dense, prefix) for prefix in state.deleted}))
    rows = [(cursor.name, cursor.position, cursor.updated_us, cursor.note) for cursor in cursors]
    insert_rows(writer, "INSERT INTO cursor", rows)
    for epoch, head in state.ancestors.items():
        add_ancestor(writer, epoch, head)
    writer.execute("UPDATE identity SET earlier_keys = ?", (state.earlier_keys,))
    writer.execute("DROP TABLE copying")


def _find_dense(writer: sqlite3.Connection, state: LogState) -> int:
    """Position after which each has a message."""
    passed = max(max(deleted.passed, deleted.lost) for deleted in state.deleted.values())
    [[newest, after_hole]] = writer.execute(
        "SELECT max(position), max(position) FILTER (WHERE position > before + 1) FROM"
        " (SELECT position, lag(position, 1, :passed) OVER (ORDER BY position) AS before FROM log"
        " WHERE position > :passed)",
        {"passed": passed},
    )
    # A log whose newest position has no message would seem damaged.
    if state.head > (newest or passed):
        return state.head
    if state.dense is not None:
        return state.dense
    return int(after_hole - 1) if after_hole else 0


def _count(writer: sqlite3.Connection, state: LogState, dense: int, prefix: str) -> Partition:
    condition, topics = in_budget(state.budgets, prefix)
    [[count, size, oldest_us]] = writer.execute(
        f"SELECT count(*), coalesce(sum(size), 0), coalesce(min(time_us), 0) FROM log WHERE size > 0 AND {condition}",
        topics,
    )
    return Partition(state.head, state.head_us, count, size, *state.deleted[prefix], oldest_us, dense)
