"""The schema of the PostgreSQL log: its tables and migrations, and what has to hold whenever a hub connects.

They run in threads, on a connection whose `search_path` is the schema.
"""

# ruff: noqa: S608 - only constants of this file are formatted into statements; values are bound

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError, Unavailable
from .engine import new_epoch
from .postgres_batch import locked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg import Connection

Timeline = int
"""Number of a server's history, which grows with each failover to a replica."""

# Positions that are left out at a failover: more than a hub can have given out that the new server does not know.
JUMP = 1_000_000

logger = logging.getLogger(__package__)

# In small steps: retention deletes all the time, and what stays is never written again.
_VACUUMED_OFTEN = """WITH (
    autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.02, autovacuum_freeze_min_age = 0
)"""

STEPS = (
    # `log` is narrow, so that a scan does not touch the bodies. `half` is what retention has deleted of the safe and of
    # the unsafe messages. `meta` is JSON in ASCII, as `text`: `jsonb` takes neither \u0000 nor half a surrogate pair.
    f"""
    CREATE TABLE identity (epoch text NOT NULL, schema_version int NOT NULL, timeline int NOT NULL);
    CREATE TABLE log (
        position bigint PRIMARY KEY, time_us bigint NOT NULL, topic text COLLATE "C" NOT NULL, size int NOT NULL
    ) {_VACUUMED_OFTEN};
    CREATE TABLE body (position bigint PRIMARY KEY, meta text NOT NULL, body bytea NOT NULL) {_VACUUMED_OFTEN};
    CREATE TABLE once (
        key bytea PRIMARY KEY, position bigint NOT NULL, time_us bigint NOT NULL, unsafe boolean NOT NULL,
        fingerprint bytea NOT NULL
    ) {_VACUUMED_OFTEN};
    CREATE INDEX once_position ON once (unsafe, position);
    CREATE TABLE half (
        unsafe boolean PRIMARY KEY, lost bigint NOT NULL, lost_us bigint NOT NULL, passed bigint NOT NULL
    );
    INSERT INTO half VALUES (false, 0, 0, 0), (true, 0, 0, 0);
    CREATE TABLE cursor (
        name text COLLATE "C" PRIMARY KEY, position bigint NOT NULL, updated_us bigint NOT NULL, note text NOT NULL
    ) WITH (fillfactor = 50);
    CREATE TABLE duty (
        name text COLLATE "C" PRIMARY KEY, hub text NOT NULL, fence bigint NOT NULL, until timestamptz NOT NULL
    ) WITH (fillfactor = 50);
    CREATE TABLE hub (
        id text PRIMARY KEY, url text NOT NULL, version text NOT NULL, configuration text NOT NULL,
        started timestamptz NOT NULL, until timestamptz NOT NULL, told bigint NOT NULL
    ) WITH (fillfactor = 50);
    CREATE TABLE writer (token uuid PRIMARY KEY, time_us bigint NOT NULL);
    CREATE TABLE failover ("before" bigint PRIMARY KEY, "after" bigint NOT NULL, lost_up_to bigint NOT NULL);
    CREATE SEQUENCE pos MINVALUE 0 START 0;
    CREATE SEQUENCE clock MINVALUE 0 START 0;
    ALTER TABLE body SET (
        toast.autovacuum_vacuum_scale_factor = 0.02, toast.autovacuum_vacuum_insert_scale_factor = 0.02,
        toast.autovacuum_freeze_min_age = 0
    );
    DO $$ BEGIN
        ALTER TABLE body ALTER COLUMN body SET COMPRESSION lz4;
    EXCEPTION WHEN feature_not_supported THEN NULL; END $$;
    """,
)
"""Migrations from each version of the schema to the next. All of them run for a new one."""

_FIND_TABLES = """
    SELECT
        EXISTS (SELECT FROM pg_namespace WHERE nspname = %(schema)s),
        EXISTS (SELECT FROM pg_class WHERE relnamespace = to_regnamespace(quote_ident(%(schema)s))),
        3 = (
            SELECT count(*) FROM pg_attribute
            WHERE attrelid = to_regclass(quote_ident(%(schema)s) || '.identity')
            AND attname IN ('epoch', 'schema_version', 'timeline')
        )
    """
_TIMELINE = "('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int"
# Not computed by a replica, where it is an error.
_CURRENT = f"CASE WHEN pg_is_in_recovery() THEN 0 ELSE {_TIMELINE} END"
_LOAD_IDENTITY = f"SELECT epoch, schema_version, timeline, {_CURRENT} FROM identity"
_INSERT_IDENTITY = f"INSERT INTO identity VALUES (%s, %s, {_TIMELINE})"
# Messages that retention has deleted were there as well.
# Replication of single tables leaves sequences out.
_LOAD_NEWEST = """
    SELECT newest, greatest(last_value, newest) FROM pos,
        (SELECT greatest((SELECT max(position) FROM log), (SELECT max(passed) FROM half)) AS newest) stored
    """
_INSERT_FAILOVER = 'INSERT INTO failover ("before", "after", lost_up_to) VALUES (%s, %s, %s)'
_NOTE_LOST = """
    UPDATE failover SET lost_up_to = %(told)s
    WHERE "after" < %(told)s AND "before" - 1 > %(told)s AND lost_up_to < %(told)s
    """


@dataclass(frozen=True, slots=True)
class Identity:
    """What the schema says about the log in it."""

    epoch: str
    version: int
    timeline: Timeline


@dataclass(frozen=True, slots=True)
class Failover:
    """Positions between `after` and `before`: they may have been given out before a failover, and never are again.

    Messages up to `lost_up_to` are known to be lost; none is if it equals `after`.
    """

    before: int
    after: int
    lost_up_to: int

    @property
    def is_lossy(self) -> bool:
        """True if messages are known to be lost."""
        return self.lost_up_to > self.after


def open_schema(
    connection: "Connection[Any]", schema: str, lock_key: int, *, steps: "Sequence[str]" = STEPS
) -> Identity:
    """Create the schema and its tables, or migrate them, as far as needed.

    Raises `ConfigError` if it is from a newer hookbot or not hookbot's, or if the role may not do this, and
    `Unavailable` on a replica.
    """
    from psycopg.errors import InsufficientPrivilege  # noqa: PLC0415 - an extra

    try:
        with locked(connection, lock_key):
            _migrate(connection, schema, steps)
            return _load_identity(connection)[0]
    except InsufficientPrivilege as error:
        raise ConfigError(
            f"the role {connection.info.user!r} may not use the schema {schema!r}, which it has to own, or to create: "
            f"{error.diag.message_primary}"
        ) from error


def check_identity(connection: "Connection[Any]", lock_key: int, epoch: str, known: Timeline) -> Timeline:
    """Timeline of the server, if it has the log `epoch` and is no older than `known`, the newest one seen before.

    On a timeline that the log has not been on, positions continue so far behind the newest one that none is given out
    twice, and the failover is recorded. Raises `Unavailable` for a replica, an old primary, or another log.
    """
    stored, current = _check(connection, epoch, known)
    if stored == current:
        return current
    with locked(connection, lock_key):
        stored, current = _check(connection, epoch, known)
        # It is lower if the server was restored from a dump or upgraded: then its history has begun again.
        if stored != current:
            [(newest, last)] = connection.execute(_LOAD_NEWEST).fetchall()
            connection.execute("SELECT setval('pos', %s)", (last + JUMP,))
            connection.execute(_INSERT_FAILOVER, (last + JUMP + 1, newest, newest))
            connection.execute("UPDATE identity SET timeline = %s", (current,))
            logger.warning(
                "the server is on timeline %d after %d: positions continue at %d", current, stored, last + JUMP
            )
    return current


def note_lost(connection: "Connection[Any]", told: int) -> None:
    """Record that a message at position `told` was there before a failover, if the log does not have it any more."""
    connection.execute(_NOTE_LOST, {"told": told})


def load_failovers(connection: "Connection[Any]") -> list[Failover]:
    """All failovers, in the order of their positions."""
    rows = connection.execute('SELECT "before", "after", lost_up_to FROM failover ORDER BY "before"')
    return [Failover(*row) for row in rows]


def _migrate(connection: "Connection[Any]", schema: str, steps: "Sequence[str]") -> None:
    from psycopg.sql import SQL, Identifier  # noqa: PLC0415 - an extra

    [(exists, has_tables, is_ours)] = connection.execute(_FIND_TABLES, {"schema": schema}).fetchall()
    if has_tables and not is_ours:
        raise ConfigError(f"the schema {schema!r} is not one of hookbot: give the log another one, by ?schema=")
    if not exists:
        connection.execute(SQL("CREATE SCHEMA {}").format(Identifier(schema)))
    version = _load_identity(connection)[0].version if is_ours else 0
    if version > len(steps):
        raise ConfigError(
            f"the schema {schema!r} is from a newer hookbot: it has version {version}, and this one knows up to "
            f"{len(steps)}"
        )
    for step in steps[version:]:
        connection.execute(step)
    if not is_ours:
        connection.execute(_INSERT_IDENTITY, (new_epoch(), len(steps)))
    elif version < len(steps):
        connection.execute("UPDATE identity SET schema_version = %s", (len(steps),))


def _load_identity(connection: "Connection[Any]") -> tuple[Identity, Timeline]:
    """Identity of the log, and the timeline of its server."""
    [(epoch, version, timeline, current)] = connection.execute(_LOAD_IDENTITY).fetchall()
    if not current:
        raise Unavailable("the server is a replica")
    return Identity(epoch, version, timeline), current


def _check(connection: "Connection[Any]", epoch: str, known: Timeline) -> tuple[Timeline, Timeline]:
    """The timeline that the log has been on, and that of its server."""
    from psycopg.errors import UndefinedTable  # noqa: PLC0415 - an extra

    try:
        identity, current = _load_identity(connection)
    except UndefinedTable as error:
        raise Unavailable("the log is gone from the database") from error
    if identity.epoch != epoch:
        raise Unavailable(f"the database has another log, {identity.epoch!r} and not {epoch!r}")
    if current < known:
        raise Unavailable(
            f"the server is an old primary: it is on timeline {current}, and the log has been on {known} meanwhile; "
            "restart the hub if the server was restored or upgraded"
        )
    return identity.timeline, current
