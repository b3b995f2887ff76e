"""Damage: what can still be read and deleted in a log whose file has damaged pages.

SQLite fails a query at the first damaged page that it meets. These queries go position by position instead: slower, so
they are used only after one of `sqlite_queries` has failed. They run in threads.
"""

# ruff: noqa: S608 - only constants of this file are formatted into statements; values are bound

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace

from ..protocol.message import Message
from ..protocol.topics import TopicFilter, check_topic
from . import sqlite_queries as queries
from .budgets import Budgets, Partitions
from .contract import Page
from .engine import ScanRange
from .retention import STEP_ROWS, Partition, RetentionLimits, Row
from .sqlite_errors import GARBLED, raise_unless_damage
from .sqlite_retention import in_budget, load_partitions
from .sqlite_rows import Columns, decode, with_breaks

# A garbled position may make a range as long as can be. One of this length is not divided if nothing is found in it.
ENDLESS = 1 << 20


def load_page(
    connection: sqlite3.Connection,
    epoch: str,
    wanted: TopicFilter,
    scan: ScanRange,
    *,
    limit: int,
    max_bytes: int,
    newest: bool,
    known: Partitions,
) -> Page:
    """Page like that of `sqlite_queries.load_page`, but up to the first message that is damaged.

    If that comes first, the page is a hole, and reaches to the last position before a message that can be read.
    The totals `known` are used if those in the file are damaged.
    """
    with suppress(*GARBLED):
        return queries.load_page(connection, epoch, wanted, scan, limit=limit, max_bytes=max_bytes, newest=newest)
    positions = range(scan.high, scan.low, -1) if newest else range(scan.low + 1, scan.high + 1)
    with _snapshot(connection, known) as partitions:
        return _load(connection, epoch, wanted, positions, partitions, limit, max_bytes, end=scan.end)


def position_before(connection: sqlite3.Connection, passed: int, head: int, time_us: int) -> int:
    """Position up to `head` after which all messages that can be read were stored at `time_us` or later, or 0.

    Those around it that cannot be read are after it. Up to `passed`, none are left.
    """
    found, low, high = 0, passed, head + 1
    while high - low > 1:
        middle = (low + high) // 2
        row = _first_readable(connection, range(middle, high))
        if row and row[1] < time_us:
            found = low = row[0]
        else:
            high = middle
    return found


def pass_step(
    connection: sqlite3.Connection,
    partitions: Partitions,
    prefix: str,
    limits: RetentionLimits,
    *,
    scan_length: int,
) -> tuple[Partition, Sequence[int]]:
    """One step of retention past what is damaged: the partition after it, and the positions to `delete`.

    Only reads, outside a transaction: after it has met a damaged page in one, SQLite refuses to write in it.
    """
    partition = partitions.by_prefix[prefix]
    high = min(partition.passed + scan_length, partition.head)
    positions = range(partition.passed + 1, high + 1)
    rows, hole, next_us = _oldest(connection, positions, partitions, prefix)
    if rows:
        taken = partition.doomed(rows, limits)
        return partition.shrunk(rows, taken), [row[0] for row in rows[:taken]]
    if hole is None:
        return replace(partition, passed=high), ()
    # The number of messages that are lost is unknown: the totals are counted again over what follows them.
    count, size = _totals(connection, hole, partition.head, partitions, prefix)
    lost_us = partition.head_us if next_us is None else next_us
    return replace(partition, count=count, size=size, passed=hole).losing(hole, lost_us), ()


def first_of(
    connection: sqlite3.Connection, low: int, high: int, budgets: Budgets, prefix: str
) -> tuple[int, int] | None:
    """Position and time of the first message of a budget after `low`, up to `high`, that can be read, if any."""
    condition, topics = in_budget(budgets, prefix)
    query = (
        f"SELECT position, time_us FROM log WHERE position >= ? AND position <= ? AND {condition}"
        " ORDER BY position LIMIT 1"
    )
    try:
        # Not from the position before it, which may be on a damaged page.
        row = connection.execute(query, (low + 1, high, *topics)).fetchone()
        return row and (int(row[0]), int(row[1]))
    except GARBLED as error:
        raise_unless_damage(error)
    if high - low <= 1:
        return None
    middle = (low + high) // 2
    return first_of(connection, low, middle, budgets, prefix) or first_of(connection, middle, high, budgets, prefix)


def count_again(connection: sqlite3.Connection, partitions: Partitions, prefix: str) -> Partition:
    """A partition with the number and the size of its messages after `passed` that can be read."""
    partition = partitions.by_prefix[prefix]
    count, size = _totals(connection, partition.passed, partition.head, partitions, prefix)
    return replace(partition, count=count, size=size)


def delete(connection: sqlite3.Connection, positions: Sequence[int]) -> None:
    """Delete messages, except those that damage protects: they stay in the file, unused. Commits by itself."""
    for rows in ("once WHERE unsafe = 1 AND", "body WHERE", "log WHERE"):
        _delete(connection, f"DELETE FROM {rows} position", positions)


def forget_keys(connection: sqlite3.Connection, before_us: int, *, unsafe: bool) -> bool:
    """Step like that of `sqlite_keys.forget_keys`, up to what is damaged. Commits by itself."""
    expired: list[int] = []
    try:
        for position, time_us in connection.execute(
            "SELECT position, time_us FROM once WHERE unsafe = ? ORDER BY position LIMIT ?", (unsafe, STEP_ROWS)
        ):
            if time_us < before_us:
                expired.append(position)
    except GARBLED as error:
        raise_unless_damage(error)
    return _delete(connection, f"DELETE FROM once WHERE unsafe = {unsafe:d} AND position", expired) >= STEP_ROWS


def _load(
    connection: sqlite3.Connection,
    epoch: str,
    wanted: TopicFilter,
    positions: range,
    partitions: Partitions,
    limit: int,
    max_bytes: int,
    *,
    end: int,
) -> Page:
    messages: list[Message] = []
    hole = last = None
    for position in with_breaks(positions):
        try:
            message = _find_message(connection, epoch, wanted, position, partitions)
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
    return Page([], hole, "damage") if hole else Page(messages, end)


@contextmanager
def _snapshot(connection: sqlite3.Connection, known: Partitions) -> Iterator[Partitions]:
    """The log as it is now, for the block, whatever retention deletes meanwhile: its totals."""
    connection.execute("BEGIN")
    try:
        try:
            partitions = load_partitions(connection)
        except GARBLED as error:
            raise_unless_damage(error)
            partitions = known
        yield partitions
    finally:
        connection.rollback()


def _first_readable(connection: sqlite3.Connection, positions: range) -> tuple[int, int] | None:
    """Position and time of the first message in a range that can be read; None if there is none."""
    query = "SELECT position, time_us FROM log WHERE position >= ? AND position < ? ORDER BY position LIMIT 1"
    for position in with_breaks(positions):
        try:
            row = connection.execute(query, (position, positions.stop)).fetchone()
            return row and (int(row[0]), int(row[1]))
        except GARBLED as error:
            raise_unless_damage(error)
    return None


def _find_row(connection: sqlite3.Connection, position: int, partitions: Partitions) -> tuple[int, str, int] | None:
    """Time, topic and size of the message at a position; None if retention has deleted it, or may have."""
    row = connection.execute("SELECT time_us, topic, size FROM log WHERE position = ?", (position,)).fetchone()
    if row is None and position <= partitions.dense:
        return None
    if row is None:
        raise ValueError(f"the message at position {position} is missing")
    time_us, topic, size = row
    # What could not be deleted is still there, and of what somebody deleted, its position.
    if position <= partitions.containing(check_topic(topic)).passed or size == 0:
        return None
    return int(time_us), str(topic), int(size)


def _find_message(
    connection: sqlite3.Connection, epoch: str, wanted: TopicFilter, position: int, partitions: Partitions
) -> Message | None:
    row = _find_row(connection, position, partitions)
    if row is None or not wanted.matches(row[1]):
        return None
    time_us, topic, size = row
    meta, body = connection.execute("SELECT meta, body FROM body WHERE position = ?", (position,)).fetchone()
    checksum = json.loads(meta).get("crc32")
    [message] = decode(epoch, Columns([position], [time_us], [topic], [size], [len(body)], [checksum], [meta]), body)
    return message


def _oldest(
    connection: sqlite3.Connection, positions: range, partitions: Partitions, prefix: str
) -> tuple[list[Row], int | None, int | None]:
    """The oldest rows of a partition, up to damage. If that comes first: its end, and the time of what follows it."""
    rows: list[Row] = []
    hole = None
    for position in with_breaks(positions):
        try:
            found = _find_row(connection, position, partitions)
        except GARBLED as error:
            raise_unless_damage(error)
            if rows:
                break
            hole = position
            continue
        if found and hole:
            return [], hole, found[0]
        if found and partitions.budgets.of(found[1]) == prefix:
            rows.append((position, found[0], found[2]))
            if len(rows) == STEP_ROWS:
                break
    return rows, hole, None


def _totals(
    connection: sqlite3.Connection, low: int, high: int, partitions: Partitions, prefix: str
) -> tuple[int, int]:
    """Number and size of the messages of a partition after `low`, up to and including `high`, that can be read."""
    # A range of one row is queried by its key: after the last row of a range, SQLite touches the next page.
    if high - low <= 1:
        rows, _, _ = _oldest(connection, range(low + 1, high + 1), partitions, prefix)
        return len(rows), sum(row[2] for row in rows)
    try:
        if high - low > ENDLESS and first_of(connection, low, high, partitions.budgets, prefix) is None:
            return 0, 0
        return _sum(connection, low, high, partitions, prefix)
    except GARBLED as error:
        raise_unless_damage(error)
    middle = (low + high) // 2
    parts = [_totals(connection, *ends, partitions, prefix) for ends in ((low, middle), (middle, high))]
    return parts[0][0] + parts[1][0], parts[0][1] + parts[1][1]


def _sum(connection: sqlite3.Connection, low: int, high: int, partitions: Partitions, prefix: str) -> tuple[int, int]:
    # Garbled rows must not be counted: the history would never be small enough again.
    queries.check_complete(connection, ScanRange(low, high, high, partitions.dense), ())
    if low < partitions.dense < high:
        raise ValueError("only a part of the range can be checked")
    condition, topics = in_budget(partitions.budgets, prefix)
    count, size = connection.execute(
        "SELECT count(*), coalesce(sum(size), 0) FROM log"
        f" WHERE position <= ? AND position > ? AND size > 0 AND {condition}",
        (high, low, *topics),
    ).fetchone()
    return int(count), int(size)


def _delete(connection: sqlite3.Connection, statement: str, positions: Sequence[int]) -> int:
    """Delete the rows at the positions, except those where damage prevents it, and return their number."""
    these = "(SELECT value FROM json_each(?))"
    try:
        return connection.execute(f"{statement} IN {these}", (json.dumps(positions),)).rowcount
    except (sqlite3.DatabaseError, MemoryError) as error:
        # A garbled page number is reported as a full disk, on which the commit before would have failed.
        if getattr(error, "sqlite_errorcode", None) != sqlite3.SQLITE_FULL:
            raise_unless_damage(error)
    if len(positions) <= 1:
        return 0
    middle = len(positions) // 2
    return _delete(connection, statement, positions[:middle]) + _delete(connection, statement, positions[middle:])
