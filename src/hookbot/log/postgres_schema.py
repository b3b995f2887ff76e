"""The schema of the PostgreSQL log: its tables and migrations, and what has to hold whenever a hub connects.

They run in threads, on a connection whose `search_path` is the schema.
"""

# ruff: noqa: S608 - only constants of this file are formatted into statements; values are bound

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError, Unavailable
from ..protocol.topics import UNSAFE
from .engine import new_epoch, unfinished_copy
from .postgres_address import PostgresAddress
from .postgres_batch import locked
from .postgres_failovers import History, record_failover

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg import Connection

logger = logging.getLogger(__package__)

# In small steps: retention deletes all the time, and what stays is never written again.
_VACUUMED_OFTEN = """WITH (
    autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.02, autovacuum_freeze_min_age = 0
)"""

STEPS = (
    # `log` is narrow, so that a scan does not touch the bodies. `half` is what retention has deleted of the safe and of
    # the unsafe messages. `meta` is JSON in ASCII, as `text`: `jsonb` takes neither \u0000 nor half a surrogate pair.
    f"""
    CREATE TABLE identity (
        epoch text NOT NULL, schema_version int NOT NULL, system bigint NOT NULL, timeline int NOT NULL
    );
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
    CREATE TABLE failover (
        "before" bigint PRIMARY KEY, "after" bigint NOT NULL, lost_up_to bigint NOT NULL,
        unheard text[] NOT NULL, until timestamptz NOT NULL
    );
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
    # What retention has deleted, by the prefixes of budgets instead of two halves. Each row has the `generation`, which
    # counts how often there were others. `ancestor`: logs from whose backups this one was restored, before it was
    # copied here, with the last position that it shares with each.
    f"""
    CREATE TABLE budget (
        prefix text COLLATE "C" PRIMARY KEY, lost bigint NOT NULL, lost_us bigint NOT NULL, passed bigint NOT NULL,
        generation bigint NOT NULL
    );
    INSERT INTO budget SELECT CASE WHEN unsafe THEN '{UNSAFE}' ELSE '' END, lost, lost_us, passed, 0 FROM half;
    DROP TABLE half;
    CREATE TABLE ancestor (epoch text PRIMARY KEY, head bigint NOT NULL);
    """,
    # Topics to whose messages listeners of a hub reply.
    "ALTER TABLE hub ADD COLUMN replying text NOT NULL DEFAULT '[]'",
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
_HISTORY = f"(SELECT system_identifier FROM pg_control_system()), {_CURRENT}"
_LOAD_HISTORY = f"SELECT {_HISTORY}"
_LOAD_IDENTITY = f"SELECT epoch, schema_version, system, timeline, {_HISTORY} FROM identity"
# Not that of the sequence: if a connection is lost while a failover is recorded, that alone has moved on.
_LOAD_LAST = """
    SELECT greatest((SELECT max(position) FROM log), (SELECT max(greatest(passed, lost)) FROM budget),
        (SELECT max("before") - 1 FROM failover))
    """
_INSERT_IDENTITY = f"INSERT INTO identity VALUES (%s, %s, {_HISTORY})"


@dataclass(frozen=True, slots=True)
class Identity:
    """Identity of the log in a schema, as it is stored there."""

    epoch: str
    version: int
    history: History


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


def load_history(connection: "Connection[Any]") -> History:
    """History of the server. Raises `Unavailable` on a replica."""
    return _history(*connection.execute(_LOAD_HISTORY).fetchall()[0])


def check_identity(
    connection: "Connection[Any]", lock_key: int, epoch: str, known: History | None = None, told: int = 0
) -> History:
    """History of the server, if it has the log `epoch` and is no older than `known`, the newest one seen before.

    If the log has been in another history, or does not know a position that a hub was `told`, positions continue so far
    behind the newest one that none is given out twice, and the failover is recorded. Raises `Unavailable` for a
    replica, an old primary, or another log.
    """
    stored, current = _check(connection, epoch, known)
    if stored == current and _last(connection) >= told:
        return current
    with locked(connection, lock_key):
        stored, current = _check(connection, epoch, known)
        # A server that was not set to write everything to the disk, or was set back, is in the same history.
        if stored != current or _last(connection) < told:
            last = record_failover(connection, told, from_copy=stored.system != current.system)
            connection.execute("UPDATE identity SET system = %s, timeline = %s", current)
            logger.warning(
                "there was a failover: the server is on timeline %d after %d, and positions continue at %d",
                current.timeline,
                stored.timeline,
                last,
            )
    return current


def load_epoch(connection: "Connection[Any]") -> str:
    """Epoch of the log."""
    return _load_identity(connection)[0].epoch


def check_readable(connection: "Connection[Any]", address: PostgresAddress) -> None:
    """Raise `ConfigError` unless there is a whole log of this version, and `Unavailable` on a replica. Only reads."""
    [(_, _, is_ours)] = connection.execute(_FIND_TABLES, {"schema": address.schema}).fetchall()
    if not is_ours:
        raise ConfigError(f"there is no log in {address}")
    version = _load_identity(connection)[0].version
    if version != len(STEPS):
        raise ConfigError(
            f"the log in {address} has version {version} of the schema, and this hookbot needs {len(STEPS)}"
        )
    require_finished(connection, str(address))


def require_same_history(connection: "Connection[Any]", address: PostgresAddress) -> None:
    """Raise `ConfigError` if the server has had a failover that no hub has taken note of: ids would be given twice."""
    identity, current = _load_identity(connection)
    if identity.history != current:
        raise ConfigError(f"the server of {address} has failed over or was restored: start and stop a hub on it first")


def copied_from(connection: "Connection[Any]") -> str | None:
    """Place of the log of which this is a copy that is not finished; None if it is none."""
    [(is_copy,)] = connection.execute("SELECT to_regclass('copying') IS NOT NULL").fetchall()
    return str(connection.execute("SELECT source FROM copying").fetchall()[0][0]) if is_copy else None


def require_finished(connection: "Connection[Any]", place: str) -> None:
    """Raise `ConfigError` for a copy that is not finished."""
    if source := copied_from(connection):
        raise unfinished_copy(place, source)


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


def _load_identity(connection: "Connection[Any]") -> tuple[Identity, History]:
    """Identity of the log, and the history of its server."""
    [(epoch, version, system, timeline, *current)] = connection.execute(_LOAD_IDENTITY).fetchall()
    return Identity(epoch, version, History(system, timeline)), _history(*current)


def _history(system: int, timeline: int) -> History:
    if not timeline:
        raise Unavailable("the server is a replica")
    return History(system, timeline)


def _last(connection: "Connection[Any]") -> int:
    [(last,)] = connection.execute(_LOAD_LAST).fetchall()
    return int(last)


def _check(connection: "Connection[Any]", epoch: str, known: History | None) -> tuple[History, History]:
    """The history that the log has been in, and that of its server."""
    from psycopg.errors import UndefinedTable  # noqa: PLC0415 - an extra

    try:
        identity, current = _load_identity(connection)
    except UndefinedTable as error:
        raise Unavailable("the log is gone from the database") from error
    if identity.epoch != epoch:
        raise Unavailable(f"the database has another log, {identity.epoch!r} and not {epoch!r}")
    if known and current.system != known.system:
        raise Unavailable(
            "the server has a copy of the log, and no failover has made it: restart the hub if it was restored or "
            "upgraded"
        )
    if known and current.timeline < known.timeline:
        raise Unavailable(
            f"the server is an old primary: it is on timeline {current.timeline}, and the log has been on "
            f"{known.timeline} meanwhile"
        )
    return identity.history, current
