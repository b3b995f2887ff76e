"""Backups of the log on disk, taken beside the hub that writes to it.

SQLite's own backup begins again whenever another process has written, and as long as one reads in a transaction, the
write-ahead log cannot be truncated. But a stored message never changes, except that it is deleted. So messages and keys
are copied in short transactions, in the order of positions, and the last one takes out what was deleted meanwhile and
adds all the rest: the copy is the log at that moment.
"""

# ruff: noqa: S608 - only constants of this file and names of tables are formatted into statements

import os
import sqlite3
import sys
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from time import monotonic, sleep

from ..errors import ConfigError, system_reason
from .new_files import new_file
from .sqlite_errors import GARBLED, cannot_open, is_full
from .sqlite_file import FILE, connect, connect_reader
from .sqlite_queries import transaction
from .sqlite_schema import APPLICATION_ID, STEPS, check_version, require_finished

# What one transaction copies, in some tens of milliseconds.
STEP_BYTES = 4 << 20
STEP_ROWS = 2000
STEP_KEYS = 5000
# Of a file of SQLite, up to the end of its `application_id`.
_HEAD_BYTES = 72
# Each is shorter than the one before, unless messages are stored faster than copied: then the last step has more to do.
ROUNDS = 3
# Those that are copied by position; all others are small, and copied at once.
_BY_POSITION = ("log", "body", "once")
_DEFINITIONS = "SELECT sql FROM {}.sqlite_master WHERE sql IS NOT NULL AND name NOT IN ('secret_file')"
_FIRST_AND_LAST = "SELECT coalesce(min(position) - 1, 0), coalesce(max(position), 0) FROM hub.log"
# What was deleted: the row, or what it was.
_CHANGED = """
    CREATE TEMP TABLE changed AS SELECT copied.position FROM main.log AS copied
    LEFT JOIN hub.log AS stored USING (position)
    WHERE (stored.topic, stored.size) IS NOT (copied.topic, copied.size)
"""

Note = Callable[[int, int], None]
"""Function that is told the number of positions that are copied, and of all."""


def back_up(directory: Path, target: Path, files: Mapping[str, bytes], note: Note) -> None:
    """Copy the log in `directory`, with files by name, to the file `target`, which appears when it is whole.

    Raises `ConfigError` if there is no log or it is damaged, if the file cannot be written, and if it is another one.
    """
    source = directory.resolve() / FILE
    if not source.exists():
        raise ConfigError(f"there is no log in the directory {directory}")
    if target.exists() and target.samefile(source):
        raise ConfigError(f"{target} is the log itself: a backup needs another file")
    try:
        with closing(connect_reader(source)) as reader:
            check_version(reader, source, newest=len(STEPS))
            require_finished(reader, directory)
    except GARBLED as error:
        raise cannot_open(directory, error) from error
    try:
        if target.exists() and not _may_be_replaced(target):
            raise ConfigError(f"{target} is no backup, and stays as it is: a backup needs another file")
        with new_file(target) as (path, descriptor), closing(connect(path.as_uri())) as copy:
            _Copy(copy, source, descriptor).run(note, files)
    except GARBLED as error:
        if is_full(error):
            raise ConfigError(f"the backup cannot be written to {target}: the disk is full") from error
        raise ConfigError(f"the log in {directory} cannot be backed up: {error}") from error
    except OSError as error:
        raise ConfigError(f"the backup cannot be written to {target}: {system_reason(error)}") from error


def _may_be_replaced(target: Path) -> bool:
    """True for an earlier backup and for an empty file: not for a device, or another file of the data directory."""
    if not target.is_file():
        return False
    with target.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    return not head or head.endswith(APPLICATION_ID.to_bytes(4, "big"))


class _Copy:
    """A copy that is being written: database `main` of a connection, of which `hub` is the log."""

    def __init__(self, connection: sqlite3.Connection, source: Path, descriptor: int) -> None:
        self._connection = connection
        self._descriptor = descriptor
        connection.execute("ATTACH ? AS hub", (f"{source.as_uri()}?mode=ro",))
        [[page_bytes]] = connection.execute("PRAGMA hub.page_size")
        for setting in (
            f"page_size = {page_bytes}",
            # Only before the first table is made.
            "auto_vacuum = INCREMENTAL",
            # A copy that is not finished is deleted; each step is synced when it no longer reads.
            "journal_mode = OFF",
            "synchronous = OFF",
            # What was deleted during the copy leaves nothing in it.
            "secure_delete = ON",
        ):
            connection.execute(f"PRAGMA main.{setting}")
        connection.execute("PRAGMA temp_store = MEMORY")

    def run(self, note: Note, files: Mapping[str, bytes]) -> None:
        """Copy everything, and check the copy."""
        definitions = self._connection.execute(_DEFINITIONS.format("hub")).fetchall()
        for [definition] in definitions:
            self._connection.execute(definition)
        after = 0
        for _ in range(ROUNDS):
            after = self._copy_up_to_head(after, note)
        with transaction(self._connection):
            if self._connection.execute(_DEFINITIONS.format("hub")).fetchall() != definitions:
                raise ConfigError("another version of hookbot has opened the log meanwhile: back it up again")
            self._copy(after, sys.maxsize)
            self._take_out_deleted()
            self._copy_others()
        self._add_files(files)
        # Bad memory and bad disks are found when a backup is taken, not when it is needed.
        [[verdict], *_] = self._connection.execute("PRAGMA main.quick_check")
        if verdict != "ok":
            raise ConfigError(f"the copy is damaged: {verdict}")

    def _copy_up_to_head(self, after: int, note: Note) -> int:
        """Copy in steps what there is now, and return the position up to which all is copied."""
        [[first, head]] = self._connection.execute(_FIRST_AND_LAST)
        while after < head:
            began = monotonic()
            with transaction(self._connection):
                up_to = self._step_end(after, head)
                self._copy(after, up_to)
            os.fsync(self._descriptor)
            after = up_to
            note(max(after - first, 0), head - first)
            # The hub has the disk for half of the time, and moments in which nobody reads, to begin its write-ahead
            # log again.
            sleep(monotonic() - began)
        return after

    def _step_end(self, after: int, head: int) -> int:
        """Position up to which one step copies."""
        ends, size = [head], 0
        rows = self._connection.execute(
            "SELECT position, size FROM hub.log WHERE position > ? ORDER BY position LIMIT ?", (after, STEP_ROWS)
        ).fetchall()
        for position, row_size in rows:
            size += row_size
            if size >= STEP_BYTES:
                ends.append(position)
                break
        ends += [row[0] for row in rows[STEP_ROWS - 1 :]]
        for unsafe in (0, 1):
            query = "SELECT position FROM hub.once WHERE unsafe = ? AND position > ? ORDER BY position LIMIT 1 OFFSET ?"
            ends += [position for [position] in self._connection.execute(query, (unsafe, after, STEP_KEYS))]
        return min(ends)

    def _copy(self, after: int, up_to: int) -> None:
        between = "position > ? AND position <= ?"
        for table, these in (("log", between), ("body", between), ("once", f"unsafe IN (0, 1) AND {between}")):
            # A key that had expired may have been used again.
            self._connection.execute(
                f"INSERT OR REPLACE INTO main.{table} SELECT * FROM hub.{table} WHERE {these}", (after, up_to)
            )

    def _take_out_deleted(self) -> None:
        self._connection.execute(_CHANGED)
        for table in ("log", "body"):
            these = "WHERE position IN (SELECT position FROM changed)"
            self._connection.execute(f"DELETE FROM main.{table} {these}")
            # What stands in the place of a message.
            self._connection.execute(f"INSERT INTO main.{table} SELECT * FROM hub.{table} {these}")

    def _copy_others(self) -> None:
        tables = self._connection.execute("SELECT name FROM main.sqlite_master WHERE type = 'table'").fetchall()
        for [table] in tables:
            if table not in _BY_POSITION:
                self._connection.execute(f"INSERT INTO main.{table} SELECT * FROM hub.{table}")
        [[version]] = self._connection.execute("PRAGMA hub.user_version")
        self._connection.execute(f"PRAGMA main.application_id = {APPLICATION_ID}")
        self._connection.execute(f"PRAGMA main.user_version = {version}")

    def _add_files(self, files: Mapping[str, bytes]) -> None:
        if files:
            self._connection.execute("CREATE TABLE main.secret_file (name TEXT PRIMARY KEY, content BLOB NOT NULL)")
            self._connection.executemany("INSERT INTO main.secret_file VALUES (?, ?)", files.items())
