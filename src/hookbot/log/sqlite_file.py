"""The file of the SQLite log: its lock, its schema and migrations, its free pages, and whether it is still there."""

import fcntl
import logging
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ..errors import ConfigError, system_reason
from .disk_reserve import DiskReserve
from .engine import new_epoch
from .opened_files import OpenedFile, WrittenFile, is_checkpointed, is_whole
from .sqlite_errors import GARBLED, cannot_open, is_full
from .sqlite_repair import repair
from .sqlite_schema import APPLICATION_ID, STEPS, check_version

FILE = "hookbot.sqlite3"
LOCK = "hookbot.lock"
# More readers would only slow each other down: decoding a page needs the interpreter's lock.
READERS = 2
# SQLite's companions of a file in WAL mode.
COMPANIONS = ("-wal", "-shm")
# Free pages that are kept for the next messages, instead of being returned and allocated again.
SPARE_BYTES = 16 << 20
# Free pages that are returned to the disk in one step.
VACUUM_BYTES = 1 << 20
# No message ever gets there: an id has 15 digits.
PROBE_POSITION = 10**15
# More than a migration, the companions and the first step of retention take.
ROOM_TO_OPEN = 2 << 20
# More than a commit needs, less than makes checkpoints rare.
CHECKPOINT_BYTES = 16 << 20
# Of a new file. A commit of one message writes three pages; with smaller ones, retention would take longer.
PAGE_BYTES = 8192

logger = logging.getLogger(__package__)


@dataclass(frozen=True, slots=True)
class LogFile:
    """An open log file: one connection for writing, a few for reading."""

    path: Path
    writer: sqlite3.Connection
    readers: tuple[sqlite3.Connection, ...]
    reserve: DiskReserve
    files: tuple[OpenedFile, ...]
    """The file, its write-ahead log and its shared memory, which is mapped; none while it can only be read."""
    opened: ExitStack
    descriptor: int = -1
    """Of the file, by which its unused space is overwritten; none while it can only be read."""
    was_killed: bool = False
    """True if the process that had it open before did not close it."""
    only_read: bool = False
    """True while the disk is so full that the file can only be read, by one connection."""

    def open_for_writing(self) -> "LogFile":
        """The file opened as usual, after it could only be read; nobody may read meanwhile. `close` closes both.

        Raises `OSError` while the disk is too full for it, and the errors of `open_log_file`.
        """
        self.reserve.check_room(ROOM_TO_OPEN)
        for reader in self.readers:
            reader.close()
        file = _open_or_only_read(self.path, STEPS, self.reserve, self.opened)
        self.opened.callback(file.close)
        return file

    def check(self) -> None:
        """Check the file and its write-ahead log before a write; see `OpenedFile.check`."""
        self.protect()
        for file, may_be_smaller in zip(self.files, (is_whole, is_checkpointed), strict=False):
            file.check(partial(may_be_smaller, self.writer))

    def accept(self) -> None:
        """Accept all files after a write; see `OpenedFile.accept`."""
        for file in self.files:
            file.accept()

    def protect(self) -> None:
        """Protect this process from a shared memory that was truncated. SQLite fills it again."""
        for file in self.files[-1:]:
            file.regrow()

    def close(self) -> None:
        """Close the readers, then the writer, which checkpoints the write-ahead log, and then release the lock."""
        with suppress(OSError):
            self.protect()
        self.opened.close()


def open_log_file(directory: Path, *, steps: Sequence[str] = STEPS) -> LogFile:
    """Open the log in `directory`, creating and migrating it as needed; only its owner can read a new one.

    Raises `ConfigError` if another hub has it open, if it is from a newer hookbot or not a log, or if it cannot be
    read. On a full disk, the reserve is given up for it; without one, it may only be read until there is room.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with ExitStack() as opened:
            opened.enter_context(locked(directory, "give this hub another data directory"))
            file = _open_or_only_read(directory.resolve() / FILE, steps, DiskReserve(directory), opened)
            _hold(file.reserve)
            return file
    except (*GARBLED, OSError) as error:
        raise cannot_open(directory, error) from error


@contextmanager
def locked(directory: Path, cure: str) -> Iterator[None]:
    """Have the log in `directory` to oneself until the block ends. `ConfigError`, with `cure`, if a process has it."""
    with (directory / LOCK).open("a+b", buffering=0) as lock:
        # The lock belongs to the open file, so the kernel releases it however the process ends.
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            process = lock.read().decode().strip() or "unknown"
            raise ConfigError(f"the log in {directory} is in use by process {process}; {cure}") from None
        # Only for the message to a second hub: on a full disk, it is left out.
        with suppress(OSError):
            lock.truncate(0)
            lock.write(b"%d\n" % os.getpid())
        yield


def connect(database: str) -> sqlite3.Connection:
    """Connection to the file that a URI names."""
    # Worker threads use a connection in turn. Autocommit mode, since `queries.transaction` begins and commits.
    return sqlite3.connect(database, uri=True, isolation_level=None, check_same_thread=False, cached_statements=256)


def connect_reader(path: Path, *, immutable: bool = False) -> sqlite3.Connection:
    """Connection that only reads the file at `path`; without companions, if nobody writes to it meanwhile."""
    connection = connect(f"{path.as_uri()}?mode=ro{'&immutable=1' if immutable else ''}")
    connection.execute("PRAGMA query_only = ON")
    # Opens the companions now: later they may be gone, and on a full disk, opening takes space.
    connection.execute("PRAGMA user_version").fetchone()
    return connection


def migrate(connection: sqlite3.Connection, path: Path, steps: Sequence[str]) -> None:
    """Make the file at `path` that of a log of this version, and repair it. Raises `ConfigError` and `GARBLED`."""
    # The version is checked before anything is written: a file of another program has to stay as it is.
    version = check_version(connection, path, newest=len(steps))
    _configure(connection)
    if version:
        repair(connection)
    for number, step in enumerate(steps[version:], start=version + 1):
        connection.executescript(
            f"BEGIN IMMEDIATE; {step}PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {number}; COMMIT;"
        )
    connection.execute(
        "INSERT INTO identity (epoch) SELECT ? WHERE NOT EXISTS (SELECT * FROM identity)", (new_epoch(),)
    )


def give_back(connection: sqlite3.Connection, *, keep_spare: bool = True) -> bool:
    """Return one step of the free pages, or of those beyond `SPARE_BYTES`, to the disk. True if there may be more."""
    [[free]], page_bytes = connection.execute("PRAGMA freelist_count"), _page_bytes(connection)
    step = VACUUM_BYTES // page_bytes
    pages = min(free - (SPARE_BYTES // page_bytes if keep_spare else 0), step)
    if pages > 0:
        # This statement frees one page for each row that is fetched from it; `executescript` fetches all of them.
        connection.executescript(f"PRAGMA incremental_vacuum({pages})")
    return bool(pages == step)


def probe(connection: sqlite3.Connection) -> None:
    """Write to the pages that every message needs, and undo it, so that a full or failing disk raises an error."""
    # After all messages, where the next one is written as well.
    connection.execute("INSERT INTO log VALUES (?, 0, '', 0)", (PROBE_POSITION,))
    connection.execute("INSERT INTO body VALUES (?, '', zeroblob(65536))", (PROBE_POSITION,))
    for table in "log", "body":
        connection.execute(f"DELETE FROM {table} WHERE position = ?", (PROBE_POSITION,))  # noqa: S608


def _open_or_only_read(path: Path, steps: Sequence[str], reserve: DiskReserve, opened: ExitStack) -> LogFile:
    try:
        try:
            return _open(path, steps, reserve, opened)
        except (OSError, sqlite3.OperationalError):
            # Even reading takes some space, for -shm and -wal.
            reserve.release()
            return _open(path, steps, reserve, opened)
    except (OSError, sqlite3.OperationalError) as error:
        if not is_full(error):
            raise
        return _open_to_read(path, steps, reserve, opened, error)


def _open_to_read(
    path: Path, steps: Sequence[str], reserve: DiskReserve, opened: ExitStack, error: Exception
) -> LogFile:
    """The file without its companions, which need space. Raises the error if it has no log yet."""
    with ExitStack() as connections:
        reader = connections.enter_context(closing(connect(path.as_uri())))
        # Before the first access: then SQLite has what is in -shm in its own memory.
        reader.execute("PRAGMA locking_mode = EXCLUSIVE")
        reader.execute("PRAGMA temp_store = MEMORY")
        reader.execute("PRAGMA query_only = ON")
        if not check_version(reader, path, newest=len(steps)):
            raise error
        opened.enter_context(connections.pop_all())
    return LogFile(path, reader, (reader,), reserve, (), opened.pop_all(), only_read=True)


def _open(path: Path, steps: Sequence[str], reserve: DiskReserve, opened: ExitStack) -> LogFile:
    with ExitStack() as connections:
        # Created here, since SQLite would create it readable for everybody; it copies the mode to -wal and -shm.
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        # After the connections: this releases their locks.
        connections.callback(os.close, descriptor)
        ahead, shared = (path.with_name(path.name + suffix) for suffix in COMPANIONS)
        was_killed = ahead.exists()
        writer = connections.enter_context(closing(connect(path.as_uri())))
        migrate(writer, path, steps)
        # Only as much as fits into the reserve may wait in the write-ahead log for space in the file.
        pages = min(CHECKPOINT_BYTES, reserve.size // 2) // _page_bytes(writer)
        writer.execute(f"PRAGMA wal_autocheckpoint = {pages}")
        readers = tuple(connections.enter_context(closing(connect_reader(path))) for _ in range(READERS))
        files = OpenedFile(path), WrittenFile(ahead, connections), OpenedFile(shared)
        opened.enter_context(connections.pop_all())
    return LogFile(path, writer, readers, reserve, files, opened.pop_all(), descriptor, was_killed)


def _hold(reserve: DiskReserve) -> None:
    try:
        reserve.hold()
    except OSError as error:
        logger.error(
            "the disk is full (%s): stored messages are served, and none is stored until some space is free",
            system_reason(error),
        )


def _page_bytes(connection: sqlite3.Connection) -> int:
    [[page_bytes]] = connection.execute("PRAGMA page_size")
    return int(page_bytes)


def _configure(connection: sqlite3.Connection) -> None:
    for setting in (
        # These two take effect only before the first table is created, and before WAL.
        f"page_size = {PAGE_BYTES}",
        "auto_vacuum = INCREMENTAL",
        "journal_mode = WAL",
        # A commit waits for the disk: a publish is answered only after that.
        "synchronous = FULL",
        # Without a limit SQLite reuses the write-ahead log, but never truncates it after a burst.
        f"journal_size_limit = {64 << 20}",
        # A savepoint may need a temporary file, and the disk may be full.
        "temp_store = MEMORY",
        # The default of some distributions (ON) overwrites each page of a deleted body.
        "secure_delete = FAST",
    ):
        connection.execute(f"PRAGMA {setting}")
