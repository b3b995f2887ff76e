"""Copies from and to a log in PostgreSQL: `copying` has the rest."""

# ruff: noqa: S608 - only constants of this house are formatted into statements; values are bound

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from ..callbacks import T
from ..errors import ConfigError
from . import postgres_queries as queries
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
from .postgres_address import PostgresAddress, require_psycopg
from .postgres_batch import locked
from .postgres_connection import PostgresConnection
from .postgres_deletion import load_deleted, replace_deleted
from .postgres_failovers import load_failovers
from .postgres_identity import LogIdentity
from .postgres_retention import load_lost, save_budgets
from .postgres_schema import check_readable, copied_from, require_same_history
from .postgres_topics import IN_BUDGET, in_budget
from .stored_message import StoredMessage

if TYPE_CHECKING:
    from psycopg import Connection

# A part of 25 MB over a slow network, or the count of all messages.
DEADLINE_S = 30.0
NAME = "hookbot log copy"

# Both tables are read in order; connections are set to use an index.
_SCAN_ALL = "SET LOCAL enable_seqscan = on"
_COUNT = "(SELECT count(*) FROM log WHERE size > 0)"
_STATE = f"""
    SELECT epoch,
        greatest(pos.last_value, (SELECT max(position) FROM log), (SELECT max(greatest(passed, lost)) FROM budget)),
        clock.last_value, {_COUNT}, (SELECT count(*) FROM hub WHERE until > clock_timestamp())
    FROM identity, pos, clock
    """
_BEGIN = f"""
    SELECT epoch, coalesce((SELECT max(position) FROM log), 0), {_COUNT}, pos.last_value,
        (SELECT count(*) FROM cursor), (SELECT count(*) FROM hub WHERE until > clock_timestamp())
    FROM identity, pos
    """
_NEWEST = "SELECT coalesce(max(position), 0) FROM log"
_INSERT_LOG = "INSERT INTO log SELECT * FROM unnest(%b::bigint[], %b::bigint[], %b::text[], %b::int[])"
_INSERT_BODY = "INSERT INTO body SELECT * FROM unnest(%b::bigint[], %b::text[], %b::bytea[])"
_INSERT_KEYS = """
    INSERT INTO once (key, position, time_us, unsafe, fingerprint)
    SELECT * FROM unnest(%b::bytea[], %b::bigint[], %b::bigint[], %b::boolean[], %b::bytea[])
    """
_INSERT_CURSORS = "INSERT INTO cursor SELECT * FROM unnest(%b::text[], %b::bigint[], %b::bigint[], %b::text[])"
_INSERT_LOST = """
    INSERT INTO failover ("before", "after", lost_up_to, unheard, until)
    VALUES (%s, %s, %s, '{}', clock_timestamp()) ON CONFLICT ("before")
    DO UPDATE SET "after" = least(failover."after", excluded."after"), lost_up_to = excluded.lost_up_to
    """
_SET_STATE = "SELECT setval('pos', %s), setval('clock', %s)"
_GONE = f"position <= %(passed)s AND {IN_BUDGET}"
# What a hub has deleted between two attempts.
_DELETE = (
    f"DELETE FROM body WHERE position IN (SELECT position FROM log WHERE {_GONE})",
    f"DELETE FROM log WHERE {_GONE}",
)
# It survives a crash together with the last commit, which waits for the disk.
_ASYNCHRONOUS = "SET LOCAL synchronous_commit = off"


@asynccontextmanager
async def open_postgres_source(address: PostgresAddress) -> AsyncIterator["PostgresSource"]:
    """The log at `address`, to be copied from there.

    Raises `ConfigError` if there is none, or one of another version or not finished itself, and `Unavailable`.
    """
    require_psycopg()
    connection = PostgresConnection(address, NAME, partial(_check_source, address=address))
    try:
        await connection.open()
        yield PostgresSource(address, connection)
    finally:
        connection.close()


class PostgresSource:
    """A log in PostgreSQL that is read whole. Opened by `open_postgres_source`."""

    def __init__(self, address: PostgresAddress, connection: PostgresConnection) -> None:
        self.name = str(address)
        self._connection = connection
        self._epoch = ""
        self._head = 0

    async def state(self) -> LogState:
        state = await self._run(partial(_load_state, name=self.name))
        self._epoch, self._head = state.epoch, state.head
        return state

    async def part(self, after: int) -> CopyPart:
        load = partial(queries.load_rows, epoch=self._epoch, after=after, up_to=self._head)
        rows = await self._run(partial(load, limit=PART_MESSAGES, max_bytes=PART_BYTES))
        messages = stored_of(rows.messages)
        return CopyPart(messages, messages[-1].position if messages else self._head)

    async def deleted(self, after: int) -> Sequence[DeletedRow]:
        return await self._run(partial(load_deleted, after=after, limit=PART_MESSAGES))

    async def keys(self, after: bytes) -> Mapping[bytes, FirstUse]:
        return await self._run(partial(queries.load_keys, after=after, limit=PART_KEYS))

    async def cursors(self) -> Sequence[SavedCursor]:
        return await self._run(partial(queries.load_cursors, prefix=""))

    async def _run(self, work: "Callable[[Connection[Any]], T]") -> T:
        return await self._connection.run(work, deadline_s=DEADLINE_S)


async def run_at(address: PostgresAddress, work: "Callable[[Connection[Any]], T]", *, deadline_s: float) -> T:
    """Result of work that only reads the log at `address`, beside its hubs.

    Raises `ConfigError` if there is none, or one of another version, and `Unavailable`.
    """
    require_psycopg()
    connection = PostgresConnection(address, NAME, partial(check_readable, address=address))
    try:
        await connection.open()
        return await connection.run(work, deadline_s=deadline_s)
    finally:
        connection.close()


@asynccontextmanager
async def open_postgres_target(address: PostgresAddress) -> AsyncIterator["PostgresTarget"]:
    """The log at `address`, to be copied to; its schema is made if need be.

    Raises `ConfigError` if somebody has to do something about it, and `Unavailable` if it cannot be reached now.
    """
    require_psycopg()
    identity = LogIdentity(address, NAME, for_copy=True)
    connection = PostgresConnection(address, NAME, identity.check, identity.current)
    try:
        await connection.open()
        yield PostgresTarget(identity, connection)
    finally:
        connection.close()


class PostgresTarget:
    """A log in PostgreSQL that is written whole. Opened by `open_postgres_target`."""

    def __init__(self, identity: LogIdentity, connection: PostgresConnection) -> None:
        self.name = str(identity.address)
        self._identity = identity
        self._connection = connection
        self._newest = 0
        """Position of the newest message that is there."""

    async def begin(self, source: str, state: LogState) -> tuple[int, int]:
        if state.earlier_keys:
            raise ConfigError(
                f"the log in {source} has keys of version 1.0, which PostgreSQL cannot have: start a hub on it, "
                "and copy it when they have expired (--dedup-window)"
            )
        self._newest, count = await self._store(partial(_begin, name=self.name, source=source, state=state))
        # Of which log it is from now on.
        self._identity.epoch = state.epoch
        return self._newest, count

    async def newest(self) -> StoredMessage | None:
        load = partial(queries.load_rows, epoch=self._identity.epoch, after=self._newest - 1, up_to=None)
        rows = await self._connection.run(partial(load, limit=1, max_bytes=1), deadline_s=DEADLINE_S)
        return next(iter(stored_of(rows.messages)), None)

    async def add(self, messages: Sequence[StoredMessage]) -> None:
        await self._store(partial(_add, name=self.name, after=self._newest, messages=messages))
        self._newest = messages[-1].position

    async def add_lost(self, lost: LostRange) -> None:
        await self._store(lambda connection: connection.execute(_INSERT_LOST, lost))

    async def add_deleted(self, deleted: Sequence[DeletedRow]) -> None:
        await self._store(partial(replace_deleted, deleted=deleted))

    async def forget_keys(self) -> None:
        await self._store(lambda connection: connection.execute("TRUNCATE once"))

    async def add_keys(self, keys: Mapping[bytes, FirstUse]) -> None:
        await self._store(partial(_add_keys, keys=keys))

    async def finish(self, state: LogState, cursors: Sequence[SavedCursor]) -> None:
        await self._store(partial(_finish, state=state, cursors=cursors))

    async def _store(self, work: "Callable[[Connection[Any]], T]") -> T:
        """Result of work in a transaction, while nobody else writes."""

        def store(connection: "Connection[Any]") -> T:
            with locked(connection, self._identity.address.lock_key):
                return work(connection)

        return await self._connection.run(store, deadline_s=DEADLINE_S)


def _check_source(connection: "Connection[Any]", *, address: PostgresAddress) -> None:
    check_readable(connection, address)
    require_same_history(connection, address)


def _load_state(connection: "Connection[Any]", *, name: str) -> LogState:
    with connection.transaction():
        connection.execute(_SCAN_ALL)
        [(epoch, head, head_us, count, hubs)] = connection.execute(_STATE).fetchall()
        if hubs:
            raise hubs_are_running(name)
        deleted = load_lost(connection)
        lost = [LostRange(one.before, one.after, one.lost_up_to) for one in load_failovers(connection).failovers]
        ancestors = queries.load_ancestors(connection)
    return LogState(epoch, head, head_us, count, deleted, lost_ranges=lost, ancestors=ancestors)


def hubs_are_running(name: str) -> ConfigError:
    """Error for a log that hubs use."""
    return ConfigError(f"hubs use the log in {name}: stop them first (`hookbot hubs` lists them)")


def _begin(connection: "Connection[Any]", *, name: str, source: str, state: LogState) -> tuple[int, int]:
    connection.execute(_SCAN_ALL)
    [(epoch, newest, count, given, cursors, hubs)] = connection.execute(_BEGIN).fetchall()
    if copied_from(connection):
        if epoch != state.epoch:
            raise another_copy(name)
    elif given or newest or cursors:
        raise not_new(name)
    elif hubs:
        raise hubs_are_running(name)
    else:
        connection.execute("CREATE TABLE copying (source text NOT NULL)")
        connection.execute("INSERT INTO copying VALUES (%s)", (source,))
        connection.execute("UPDATE identity SET epoch = %s", (state.epoch,))
    return newest, count


def _add(connection: "Connection[Any]", *, name: str, after: int, messages: Sequence[StoredMessage]) -> None:
    connection.execute(_ASYNCHRONOUS)
    [(newest,)] = connection.execute(_NEWEST).fetchall()
    if newest != after:
        raise ConfigError(f"another `hookbot log copy` writes to {name} as well: let that finish")
    positions, times_us, sizes, metas = map(list, zip(*(message.stored for message in messages), strict=True))
    topics, bodies = [message.topic for message in messages], [message.body for message in messages]
    connection.execute(_INSERT_LOG, (positions, times_us, topics, sizes))
    connection.execute(_INSERT_BODY, (positions, metas, bodies))


def _add_keys(connection: "Connection[Any]", *, keys: Mapping[bytes, FirstUse]) -> None:
    connection.execute(_ASYNCHRONOUS)
    uses = [(key, use.position, use.time_us, use.unsafe, use.fingerprint) for key, use in keys.items()]
    connection.execute(_INSERT_KEYS, [list(column) for column in zip(*uses, strict=True)])


def _finish(connection: "Connection[Any]", *, state: LogState, cursors: Sequence[SavedCursor]) -> None:
    for prefix, deleted in state.deleted.items():
        for statement in _DELETE:
            connection.execute(statement, {"passed": deleted.passed, **in_budget(state.budgets, prefix)})
    save_budgets(connection, state.deleted)
    rows = [(cursor.name, cursor.position, cursor.updated_us, cursor.note) for cursor in cursors]
    if rows:
        connection.execute(_INSERT_CURSORS, [list(column) for column in zip(*rows, strict=True)])
    for lost in state.lost_ranges:
        connection.execute(_INSERT_LOST, lost)
    for ancestor in state.ancestors.items():
        connection.execute("INSERT INTO ancestor VALUES (%s, %s)", ancestor)
    connection.execute(_SET_STATE, (state.head, state.head_us))
    connection.execute("DROP TABLE copying")
