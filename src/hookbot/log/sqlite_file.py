"""The file of the SQLite log: its lock, its schema, and how an older one is brought forward."""

import fcntl
import os
import sqlite3
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ..errors import ConfigError
from .engine import new_epoch

FILE = "hookbot.sqlite3"
LOCK = "hookbot.lock"
READERS = 2  # more only make each other slow: decoding takes turns in one interpreter
APPLICATION_ID = 0x686F6F6B  # "hook"; tells our file from any other SQLite file

STEPS = (
    # `log` is narrow, so that searching it does not touch the bodies, and has no index on the topic: that would halve
    # appends and retention. A key is a digest; `meta` is what `Message` has besides, as JSON, where it is not empty.
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
)
"""Migrations from one version of the schema to the next; a new file takes all of them. `half` holds the partitions."""


@dataclass(frozen=True, slots=True)
class LogFile:
    """An open log file: a connection that writes, a few that read."""

    writer: sqlite3.Connection
    readers: tuple[sqlite3.Connection, ...]
    opened: ExitStack

    def close(self) -> None:
        """Close the readers, then the writer, which folds the write-ahead log in; then let other hubs open it."""
        self.opened.close()


def open_log_file(directory: Path) -> LogFile:
    """Open the log in `directory`, and make what is not there yet, for its owner only.

    Raises `ConfigError` when another hub has it open, when it is from a newer hookbot, no log at all, or out of reach.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with ExitStack() as opened:
            _lock(opened.enter_context((directory / LOCK).open("a+")), directory)
            path = directory.resolve() / FILE
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            writer = opened.enter_context(closing(_connect(path.as_uri())))
            _bring_forward(writer, path)
            readers = tuple(opened.enter_context(closing(_connect_reader(path))) for _ in range(READERS))
            return LogFile(writer, readers, opened.pop_all())
    except OSError as error:
        raise ConfigError(f"the log in {directory} cannot be opened: {error.strerror}") from error
    except sqlite3.DatabaseError as error:
        raise ConfigError(f"the log in {directory} cannot be opened: {error}") from error


def _lock(lock: IO[str], directory: Path) -> None:
    """Held by the open file, so that the kernel lets go of it however the process ends."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        raise ConfigError(f"the log in {directory} is in use by process {lock.read().strip() or 'unknown'}") from None
    lock.truncate(0)
    lock.write(f"{os.getpid()}\n")
    lock.flush()


def _connect(database: str) -> sqlite3.Connection:
    return sqlite3.connect(database, uri=True, isolation_level=None, check_same_thread=False, cached_statements=256)


def _connect_reader(path: Path) -> sqlite3.Connection:
    connection = _connect(f"{path.as_uri()}?mode=ro")
    connection.execute("PRAGMA query_only = ON")
    return connection


def _bring_forward(connection: sqlite3.Connection, path: Path) -> None:
    version = _check_version(connection, path)
    _configure(connection)
    for number, step in enumerate(STEPS[version:], start=version + 1):
        connection.executescript(
            f"BEGIN IMMEDIATE; {step}PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {number}; COMMIT;"
        )
    connection.execute("INSERT INTO identity SELECT ? WHERE NOT EXISTS (SELECT * FROM identity)", (new_epoch(),))


def _check_version(connection: sqlite3.Connection, path: Path) -> int:
    [version] = connection.execute("PRAGMA user_version").fetchone()
    [application] = connection.execute("PRAGMA application_id").fetchone()
    [tables] = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if tables and application != APPLICATION_ID:
        raise ConfigError(f"{path} is not a log of hookbot")
    if version > len(STEPS):
        raise ConfigError(f"{path} is from a newer hookbot: its schema is {version}, this one knows {len(STEPS)}")
    return int(version)


def _configure(connection: sqlite3.Connection) -> None:
    for setting in (
        "page_size = 16384",  # with its autovacuum, only before the first table
        "auto_vacuum = INCREMENTAL",
        "journal_mode = WAL",
        "synchronous = FULL",  # what is answered is on the disk
        "wal_autocheckpoint = 1000",
        f"journal_size_limit = {64 << 20}",
        "secure_delete = FAST",  # full, some distributions' default, writes every page of a large body once more
    ):
        connection.execute(f"PRAGMA {setting}")
