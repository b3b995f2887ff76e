"""The schema of the SQLite log: its tables and migrations, and those that only copies and restored logs have."""

import sqlite3
from pathlib import Path

from ..errors import ConfigError
from ..protocol.topics import UNSAFE
from .engine import unfinished_copy

# "hook" in ASCII; distinguishes a log from any other SQLite file.
APPLICATION_ID = 0x686F6F6B

STEPS = (
    # `log` is narrow, so that a scan does not touch the bodies, and has no index on the topic, which would halve the
    # rate of appends and of retention. `half` holds the partitions. `key` is a digest; `meta` holds the other fields of
    # a `Message` that are not empty, as JSON.
    """
    CREATE TABLE identity (epoch TEXT NOT NULL);
    CREATE TABLE log (
        position INTEGER PRIMARY KEY, time_us INTEGER NOT NULL, topic TEXT NOT NULL, size INTEGER NOT NULL
    );
    CREATE TABLE body (position INTEGER PRIMARY KEY, meta TEXT NOT NULL, body BLOB NOT NULL);
    CREATE TABLE half (
        unsafe INTEGER PRIMARY KEY, head INTEGER NOT NULL, head_us INTEGER NOT NULL, count INTEGER NOT NULL,
        size INTEGER NOT NULL, lost INTEGER NOT NULL, lost_us INTEGER NOT NULL, passed INTEGER NOT NULL,
        oldest_us INTEGER NOT NULL
    );
    CREATE TABLE cursor (name TEXT PRIMARY KEY, position INTEGER NOT NULL, updated_us INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE once (
        unsafe INTEGER NOT NULL, position INTEGER NOT NULL, key BLOB NOT NULL UNIQUE, time_us INTEGER NOT NULL,
        fingerprint BLOB NOT NULL, PRIMARY KEY (unsafe, position, key)
    ) WITHOUT ROWID;
    INSERT INTO half VALUES (0, 0, 0, 0, 0, 0, 0, 0, 0), (1, 0, 0, 0, 0, 0, 0, 0, 0);
    """,
    # `earlier_keys`: the position up to which keys were stored by their earlier digest (`earlier_keys.py`).
    """
    ALTER TABLE identity ADD COLUMN earlier_keys INTEGER NOT NULL DEFAULT 0;
    UPDATE identity SET earlier_keys = (SELECT max(head) FROM half);
    """,
    "ALTER TABLE cursor ADD COLUMN note TEXT NOT NULL DEFAULT '';",
    # `dense`: what `Partition` says.
    "ALTER TABLE half ADD COLUMN dense INTEGER NOT NULL DEFAULT 0;",
    # The partitions by the prefixes of their budgets, instead of two.
    f"""
    CREATE TABLE budget (
        prefix TEXT PRIMARY KEY, head INTEGER NOT NULL, head_us INTEGER NOT NULL, count INTEGER NOT NULL,
        size INTEGER NOT NULL, lost INTEGER NOT NULL, lost_us INTEGER NOT NULL, passed INTEGER NOT NULL,
        oldest_us INTEGER NOT NULL, dense INTEGER NOT NULL
    ) WITHOUT ROWID;
    INSERT INTO budget SELECT CASE WHEN unsafe THEN '{UNSAFE}' ELSE '' END, head, head_us, count, size, lost, lost_us,
        passed, oldest_us, dense FROM half;
    DROP TABLE half;
    """,  # noqa: S608 - a constant
)
"""Migrations from each version of the schema to the next. All of them run for a new file."""


def check_version(connection: sqlite3.Connection, path: Path, *, newest: int) -> int:
    """Version of the schema, 0 of a new file. Raises `ConfigError` for a newer one, and for another program's file."""
    [version] = connection.execute("PRAGMA user_version").fetchone()
    [application] = connection.execute("PRAGMA application_id").fetchone()
    [tables] = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if tables and application != APPLICATION_ID:
        raise ConfigError(f"{path} is not a log of hookbot")
    if version > newest:
        raise ConfigError(
            f"{path} is from a newer hookbot: its schema has version {version}, and this one knows up to {newest}"
        )
    return int(version)


def partitions_table(connection: sqlite3.Connection) -> str:
    """Table of the partitions: another one until the file is migrated."""
    [[has_budgets]] = connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'budget'")
    return "budget" if has_budgets else "half"


def copied_from(connection: sqlite3.Connection) -> str | None:
    """Place of the log of which this is a copy that is not finished; None if it is none."""
    [[is_copy]] = connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'copying'")
    return str(connection.execute("SELECT source FROM copying").fetchone()[0]) if is_copy else None


def require_finished(connection: sqlite3.Connection, directory: Path) -> None:
    """Raise `ConfigError` for a copy that is not finished."""
    if source := copied_from(connection):
        raise unfinished_copy(f"sqlite:{directory}", source)


def load_ancestors(connection: sqlite3.Connection) -> dict[str, int]:
    """Epochs of the logs from whose backups this one was restored, with the last position that it shares with each."""
    [[there]] = connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'ancestor'")
    return dict(connection.execute("SELECT epoch, head FROM ancestor")) if there else {}


def add_ancestor(connection: sqlite3.Connection, epoch: str, head: int) -> None:
    """Note that the log was restored from a backup of another one, with which it shares the positions up to `head`."""
    # No part of the schema, since few logs are restored.
    connection.execute("CREATE TABLE IF NOT EXISTS ancestor (epoch TEXT PRIMARY KEY, head INTEGER NOT NULL)")
    connection.execute("INSERT INTO ancestor VALUES (?, ?)", (epoch, head))
