"""The way back from a backup: a new log that goes on where the backup ends.

What was stored after the backup is lost, and its ids must not be given to other messages: so the log has a new epoch,
and remembers the one before as its ancestor, with which it shares the messages of the backup.
"""

import os
import shutil
import sqlite3
from collections.abc import Callable, Collection, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from ..errors import ConfigError, system_reason
from . import sqlite_queries as queries
from .contract import SavedCursor
from .engine import new_epoch
from .new_files import give_to_owner, new_file
from .opened_files import is_whole
from .sqlite_errors import GARBLED
from .sqlite_file import COMPANIONS, FILE, LOCK, connect, connect_reader, locked, migrate
from .sqlite_retention import load_partitions
from .sqlite_schema import STEPS, add_ancestor, check_version, require_finished

Renew = Callable[[SavedCursor], str]
"""Function for the note of a cursor that was restored: what its clients have acknowledged may come again."""


@dataclass(frozen=True, slots=True)
class Restored:
    """Result of a restore: numbers of messages and cursors, names of files, and the epochs before and after."""

    messages: int
    cursors: int
    files: tuple[str, ...]
    ancestor: str
    epoch: str


def restore(backup: Path, directory: Path, renew: Renew, names: Collection[str]) -> Restored:
    """Make the log in `directory`, where there is none yet, from a backup, and the files that it has of these `names`.

    A copy of the file of a log that was closed does as well, also of an earlier version. Raises `ConfigError` if there
    is a log or another file, if a hub runs there, if the backup is damaged or none, and if the disk is full.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with locked(directory, "stop it first"):
            give_to_owner(directory / LOCK)
            target = directory.resolve() / FILE
            _check(backup, target)
            with new_file(target) as (path, _):
                shutil.copyfile(backup, path)
                with closing(connect(path.as_uri())) as connection:
                    restored, files = _renew(connection, path, renew, names)
                for name, content in files.items():
                    _write(directory / name, content)
            return restored
    except GARBLED as error:
        raise ConfigError(f"{backup} cannot be restored: {error}") from error
    except OSError as error:
        raise ConfigError(f"{backup} cannot be restored to {directory}: {system_reason(error)}") from error


def _check(backup: Path, target: Path) -> None:
    for suffix in ("", *COMPANIONS):
        if target.with_name(target.name + suffix).exists():
            raise ConfigError(
                f"there is a log in {target.parent}: move {target.name}{suffix} and what begins with its name to "
                "another place first, or restore to another directory"
            )
    if not backup.is_file():
        raise ConfigError(f"there is no file {backup}")
    ahead = backup.with_name(f"{backup.name}-wal")
    if ahead.exists() and ahead.stat().st_size:
        raise ConfigError(f"{backup} is the file of a hub that runs or was killed: `hookbot backup` makes a whole copy")
    # Before it is copied: it may be large, and anything.
    with closing(connect_reader(backup.resolve(), immutable=True)) as reader:
        if not check_version(reader, backup, newest=len(STEPS)):
            raise ConfigError(f"{backup} is not a log of hookbot")
        require_finished(reader, backup)
        # They would run whatever they like with each statement of the hub.
        [[programs]] = reader.execute("SELECT count(*) FROM sqlite_master WHERE type IN ('trigger', 'view')")
        if programs:
            raise ConfigError(f"{backup} is not a log of hookbot: it has triggers or views")
        # SQLite would take what is missing of a page for zeros.
        if not is_whole(reader, backup.stat().st_size):
            raise ConfigError(f"{backup} is damaged: its end is missing")


def _renew(
    connection: sqlite3.Connection, path: Path, renew: Renew, names: Collection[str]
) -> tuple[Restored, Mapping[str, bytes]]:
    """Make a copy of a backup the log that goes on from there, and take the files out of it."""
    [[verdict], *_] = connection.execute("PRAGMA quick_check")
    if verdict != "ok":
        raise ConfigError(f"the backup is damaged: {verdict}")
    migrate(connection, path, STEPS)
    connection.execute("PRAGMA secure_delete = ON")
    with queries.transaction(connection):
        partitions = load_partitions(connection)
        ancestor, epoch = queries.load_epoch(connection), new_epoch()
        add_ancestor(connection, ancestor, partitions.head)
        connection.execute("UPDATE identity SET epoch = ?", (epoch,))
        cursors = queries.load_cursors(connection, "")
        notes = [(renew(cursor), cursor.name) for cursor in cursors]
        connection.executemany("UPDATE cursor SET note = ? WHERE name = ?", notes)
        files = _take_files(connection, path.parent, names)
    return Restored(partitions.count, len(cursors), tuple(files), ancestor, epoch), files


def _take_files(connection: sqlite3.Connection, directory: Path, names: Collection[str]) -> Mapping[str, bytes]:
    """The files in a backup that are not in the directory yet. Raises `ConfigError` for one that is, but is another."""
    if not connection.execute("SELECT name FROM sqlite_master WHERE name = 'secret_file'").fetchall():
        return {}
    files = dict(connection.execute("SELECT name, content FROM secret_file"))
    connection.execute("DROP TABLE secret_file")
    if not (files.keys() <= set(names) and all(isinstance(content, bytes) for content in files.values())):
        raise ConfigError("the backup has a file that is none that `hookbot backup` takes")
    there = {name for name in files if (directory / name).exists()}
    for name in there:
        if (directory / name).read_bytes() != files[name]:
            raise ConfigError(f"the backup has another file {name} than {directory}: move that to another place first")
    return {name: files[name] for name in files.keys() - there}


def _write(path: Path, content: bytes) -> None:
    with new_file(path) as (_, descriptor):
        os.write(descriptor, content)
