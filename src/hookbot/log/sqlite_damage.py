"""Damage: what can still be read and deleted in a log whose file has damaged pages.

SQLite fails a query at the first damaged page that it meets. These queries go position by position instead: slower, so
they are used only after one of `sqlite_queries` has failed. They run in threads.
"""

# ruff: noqa: S608 - only constants of this file are formatted into statements; values are bound

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import replace

from ..protocol.message import Message
from ..protocol.topics import TopicFilter, is_unsafe
from . import sqlite_queries as queries
from .contract import Page
from .engine import ScanRange
from .retention import STEP_ROWS, Partition, RetentionLimits, Row
from .sqlite_rows import decode, with_breaks

GARBLED = (sqlite3.DatabaseError, ValueError, TypeError, AttributeError, LookupError)
"""Errors of a query and of decoding its rows that may come from damage; `is_damage` decides."""

# TOOBIG: a garbled length. A file whose first page is damaged is no database at all.
_CODES = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_TOOBIG)


def is_damage(error: Exception) -> bool:
    """True if one of the errors `GARBLED` came from damaged bytes, and not from a full or failing disk."""
    if isinstance(error, sqlite3.DatabaseError):
        # Text that is not UTF-8 is an OperationalError of the module, without a code of SQLite.
        code = getattr(error, "sqlite_errorcode", None)
        return isinstance(error, sqlite3.OperationalError) if code is None else (code & 0xFF) in _CODES
    return True


def raise_unless_damage(error: Exception) -> None:
    """Raise one of the errors `GARBLED` again, unless it is damage."""
    if not is_damage(error):
        raise error


def load_readable(
    connection: sqlite3.Connection,
    epoch: str,
    wanted: TopicFilter,
    scan: ScanRange,
    *,
    limit: int,
    max_bytes: int,
    newest: bool,
) -> Page:
    """Page like that of `sqlite_queries.load_page`, up to the first message that is damaged.

    If that comes first, the page is `damaged`, and reaches to the last position before a message that can be read.
    """
    messages: list[Message] = []
    hole = last = None
    positions = range(scan.high, scan.low, -1) if newest else range(scan.low + 1, scan.high + 1)
    for position in with_breaks(positions):
        try:
            message = _find_message(connection, epoch, wanted, position)
        except GARBLED as error:
            raise_unless_damage(error)
            if messages:
                return Page(messages, last or position)
            hole = position
        else:
            if message and hole:
                break
            if message:
                max_bytes -= message.size
                if len(messages) == limit or (messages and max_bytes < 0):
                    return Page(messages, messages[-1].position)
                messages.append(message)
        last = position
    return Page([], hole, damaged=True) if hole else Page(messages, scan.end)


def pass_step(
    connection: sqlite3.Connection, partition: Partition, limits: RetentionLimits, *, unsafe: bool, scan_length: int
) -> tuple[Partition, Sequence[int]]:
    """One step of retention past what is damaged: the partition after it, and the positions to `delete`.

    Only reads, outside a transaction: after it has met a damaged page in one, SQLite refuses to write in it.
    """
    high = min(partition.passed + scan_length, partition.head)
    rows, hole, next_us = _oldest(connection, range(partition.passed + 1, high + 1), unsafe=unsafe)
    if rows:
        taken = partition.doomed(rows, limits)
        return partition.shrunk(rows, taken), [row[0] for row in rows[:taken]]
    if hole is None:
        return replace(partition, passed=high), ()
    # The number of messages that are lost is unknown: the totals are counted again over what follows them.
    count, size = _totals(connection, hole, partition.head, unsafe=unsafe)
    lost_us = partition.head_us if next_us is None else next_us
    return replace(partition, count=count, size=size, passed=hole, lost=hole, lost_us=lost_us), ()


def delete(connection: sqlite3.Connection, positions: Sequence[int]) -> None:
    """Delete messages, except those that damage protects: they stay in the file, unused. Commits by itself."""
    for table in ("body", "log"):
        _delete(connection, f"DELETE FROM {table} WHERE position", positions)


def forget_keys(connection: sqlite3.Connection, limits: RetentionLimits, *, lost: int, unsafe: bool) -> bool:
    """Step like that of `sqlite_queries.forget_keys`, up to what is damaged. Commits by itself."""
    expired: list[int] = []
    try:
        for position, time_us in connection.execute(
            "SELECT position, time_us FROM once WHERE unsafe = ? ORDER BY position LIMIT ?", (unsafe, STEP_ROWS)
        ):
            if time_us < limits.keys_before_us or position <= lost:
                expired.append(position)
    except GARBLED as error:
        raise_unless_damage(error)
    return _delete(connection, f"DELETE FROM once WHERE unsafe = {unsafe:d} AND position", expired) >= STEP_ROWS


def _find_row(connection: sqlite3.Connection, position: int) -> tuple[int, str, int] | None:
    """Time, topic and size of the message at a position, or None if there is none."""
    row = connection.execute("SELECT time_us, topic, size FROM log WHERE position = ?", (position,)).fetchone()
    if row is None:
        return None
    time_us, topic, size = row
    return int(time_us), str(topic), int(size)


def _find_message(connection: sqlite3.Connection, epoch: str, wanted: TopicFilter, position: int) -> Message | None:
    row = _find_row(connection, position)
    if row is None or not wanted.matches(row[1]):
        return None
    meta, body = connection.execute("SELECT meta, body FROM body WHERE position = ?", (position,)).fetchone()
    [message] = decode(epoch, [[position, row[0], row[1], len(body), json.loads(meta)]], body)
    return message


def _oldest(
    connection: sqlite3.Connection, positions: range, *, unsafe: bool
) -> tuple[list[Row], int | None, int | None]:
    """The oldest rows of a partition, up to damage. If that comes first: its end, and the time of what follows it."""
    rows: list[Row] = []
    hole = None
    for position in with_breaks(positions):
        try:
            found = _find_row(connection, position)
        except GARBLED as error:
            raise_unless_damage(error)
            if rows:
                break
            hole = position
            continue
        if found and hole:
            return [], hole, found[0]
        if found and is_unsafe(found[1]) is unsafe:
            rows.append((position, found[0], found[2]))
            if len(rows) == STEP_ROWS:
                break
    return rows, hole, None


def _totals(connection: sqlite3.Connection, low: int, high: int, *, unsafe: bool) -> tuple[int, int]:
    """Number and size of the messages of a partition after `low`, up to and including `high`, that can be read."""
    # A range of one row is queried by its key: after the last row of a range, SQLite touches the next page.
    within = "position = ?" if high - low == 1 else "position <= ? AND position > ?"
    values = (high,) if high - low == 1 else (high, low)
    try:
        count, size = connection.execute(
            f"SELECT count(*), coalesce(sum(size), 0) FROM log WHERE {within} AND {queries.IN_PARTITION[unsafe]}",
            values,
        ).fetchone()
        return int(count), int(size)
    except GARBLED as error:
        raise_unless_damage(error)
    if high - low <= 1:
        return 0, 0
    middle = (low + high) // 2
    parts = _totals(connection, low, middle, unsafe=unsafe), _totals(connection, middle, high, unsafe=unsafe)
    return parts[0][0] + parts[1][0], parts[0][1] + parts[1][1]


def _delete(connection: sqlite3.Connection, statement: str, positions: Sequence[int]) -> int:
    """Delete the rows at the positions, except those where damage prevents it, and return their number."""
    these = "(SELECT value FROM json_each(?))"
    try:
        return connection.execute(f"{statement} IN {these}", (json.dumps(positions),)).rowcount
    except sqlite3.DatabaseError as error:
        raise_unless_damage(error)
    if len(positions) <= 1:
        return 0
    middle = len(positions) // 2
    return _delete(connection, statement, positions[:middle]) + _delete(connection, statement, positions[middle:])
