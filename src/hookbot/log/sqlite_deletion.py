"""Deletion in the SQLite log: of a deleted message, its position and its time stay. It runs in threads.

Such a row of `log` has no size and the prefix of its budget as topic, and nothing in `body` belongs to it. So each
position still has a row, by which damage is recognised, and whoever reads leaves it out.
"""

# ruff: noqa: S608 - only constants of this file are formatted into statements; values are bound

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ..errors import Unavailable
from .budgets import Partitions
from .contract import DeletionStep
from .copying import DeletedRow
from .retention import STEP_BYTES, STEP_ROWS, Row
from .sqlite_queries import transaction
from .sqlite_retention import save_partitions
from .sqlite_rows import insert_rows

# That of the `sqlite3` module.
BUSY_S = 5.0
_THESE = "position IN (SELECT value FROM json_each(?))"


def delete_step(
    connection: sqlite3.Connection, partitions: Partitions, positions: Sequence[int]
) -> tuple[Partitions, DeletionStep]:
    """Delete one step of the messages at these positions in one commit; the partitions after it."""
    step = list(positions[:STEP_ROWS])
    with _overwriting(connection), transaction(connection):
        found = connection.execute(
            f"SELECT position, time_us, size, topic FROM log WHERE {_THESE} AND size > 0 ORDER BY position DESC",
            (json.dumps(step),),
        ).fetchall()
        rows = _within_bytes([(row, topic) for *row, topic in found])
        gone: dict[str, list[Row]] = defaultdict(list)
        for row, topic in rows:
            gone[partitions.budgets.of(topic)].append(row)
        for prefix, these in gone.items():
            _delete(connection, [position for position, _, _ in these], prefix)
        remaining = partitions.without(gone)
        save_partitions(connection, remaining, partitions)
    done = step if len(rows) == len(found) else [position for position in step if position >= rows[-1][0][0]]
    return remaining, DeletionStep(len(rows), positions[len(done) :])


def load_deleted(connection: sqlite3.Connection, after: int, limit: int) -> list[DeletedRow]:
    """Rows that stay of the messages that were deleted after a position, at most `limit`."""
    query = "SELECT position, time_us, topic FROM log WHERE position > ? AND size = 0 ORDER BY position LIMIT ?"
    return list(map(DeletedRow._make, connection.execute(query, (after, limit))))


def replace_deleted(connection: sqlite3.Connection, deleted: Sequence[DeletedRow]) -> None:
    """Write what stays of messages that were deleted, also in place of them."""
    with _overwriting(connection):
        connection.execute(f"DELETE FROM body WHERE {_THESE}", (json.dumps([row.position for row in deleted]),))
    insert_rows(connection, "REPLACE INTO log", [(*row, 0) for row in deleted])


def empty_write_ahead_log(connection: sqlite3.Connection, wait_s: float) -> None:
    """Move what is in the write-ahead log into the file, and leave it empty.

    `Unavailable` if a process reads what is older for longer than `wait_s`.
    """
    connection.execute(f"PRAGMA busy_timeout = {wait_s * 1000:.0f}")
    try:
        [[is_read, _, _]] = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        connection.execute(f"PRAGMA busy_timeout = {BUSY_S * 1000:.0f}")
    if is_read:
        raise Unavailable(
            "the messages are deleted, but while another process reads the log, its files still contain their bytes: "
            "the hub removes them when that has ended"
        )


@contextmanager
def _overwriting(connection: sqlite3.Connection) -> Iterator[None]:
    """Have what is deleted in the block overwritten with zeros, also in pages that become free.

    Not for retention, where this would cost up to four times as much.
    """
    connection.execute("PRAGMA secure_delete = ON")
    try:
        yield
    finally:
        connection.execute("PRAGMA secure_delete = FAST")


def _within_bytes(found: Sequence[tuple[Row, str]]) -> Sequence[tuple[Row, str]]:
    """The first of these messages, of about `STEP_BYTES`."""
    size = 0
    for number, (row, _) in enumerate(found):
        if size >= STEP_BYTES:
            return found[:number]
        size += row[2]
    return found


def _delete(connection: sqlite3.Connection, positions: Sequence[int], topic: str) -> None:
    these = json.dumps(positions)
    connection.execute(f"DELETE FROM body WHERE {_THESE}", (these,))
    connection.execute(f"UPDATE log SET topic = ?, size = 0 WHERE {_THESE}", (topic, these))
