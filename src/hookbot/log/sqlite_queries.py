"""Queries of the SQLite log, except those of its keys (`sqlite_keys`) and migrations. They run in threads.

The `sqlite3` module releases the interpreter's lock for each row that it steps over, and a busy event loop may take
milliseconds to give it back. So a batch is written with few statements of many rows, and a page is read as one row:
each column of its messages as one JSON string, their bodies as one blob.
"""

# ruff: noqa: S608 - only constants of this file are formatted into statements; values are bound

import json
import re
import sqlite3
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import accumulate
from operator import ge, le
from time import perf_counter
from typing import Any

from ..protocol.message import Message
from ..protocol.topics import TopicFilter, is_subtree
from .batch import Batch
from .contract import Noted, Page, SavedCursor
from .engine import ScanRange
from .histogram import Histogram
from .large_bodies import in_row, is_apart, read_body, write_body
from .retention import Row
from .sealing import NO_KEYS, Sealing
from .sqlite_keys import insert_keys
from .sqlite_rows import Columns, decode, in_runs, insert_rows

# Positions that one query scans, in about five milliseconds.
SCAN_LENGTH = 50_000

# As `new_epoch` makes them.
_EPOCH = re.compile("[a-z]{8}")
# Those of `Columns`, except for `meta`, which is not decoded: without damage, its text has no line feed to join it by.
_COLUMNS = ("position", "time_us", "topic", "size", "length(body)", "json_extract(meta, '$.crc32')")
# A row of zeros has a topic of NULL. SQLite takes `topic IS NULL` for impossible, because of the column's NOT NULL.
IS_GARBLED = "(topic >= '') IS NOT TRUE"


@contextmanager
def transaction(connection: sqlite3.Connection, times: Histogram | None = None) -> Iterator[None]:
    """Transaction around the block: committed durably at its end, rolled back if anything raises.

    The seconds that the disk takes for it are added to `times`.
    """
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
        began = perf_counter()
        connection.execute("COMMIT")
        if times:
            times.add(perf_counter() - began)
    finally:
        connection.rollback()


def load_epoch(connection: sqlite3.Connection) -> str:
    """Epoch of the log. Raises `ValueError` if it is garbled."""
    [epoch] = connection.execute("SELECT epoch FROM identity").fetchone()
    if not isinstance(epoch, str) or not _EPOCH.fullmatch(epoch):
        raise ValueError("its identity is garbled")
    return epoch


def load_topics(connection: sqlite3.Connection, scan: ScanRange) -> list[tuple[str, int]]:
    """Topic and position of every message in `scan`. Raises `ValueError` if some are missing."""
    found = connection.execute(
        "SELECT json_group_array(topic), json_group_array(position) FROM"
        " (SELECT topic, position FROM log WHERE position > ? AND position <= ? ORDER BY position)",
        (scan.low, scan.high),
    ).fetchone()
    topics, positions = map(json.loads, found)
    check_complete(connection, scan, positions)
    return list(zip(topics, positions, strict=True))


def insert_batch(connection: sqlite3.Connection, batch: Batch, sealing: Sealing = NO_KEYS) -> None:
    """Write the messages of a batch, and the first uses of their keys."""
    insert_messages(connection, [(row, message.topic, *sealing.seal(row[0], message)) for row, message in batch.stored])
    insert_keys(connection, batch.keys)


def insert_messages(connection: sqlite3.Connection, messages: Sequence[tuple[Row, str, str, bytes]]) -> None:
    """Write messages, each as its row, topic, meta and body."""
    log = [(position, time_us, topic, size) for (position, time_us, size), topic, _, _ in messages]
    insert_rows(connection, "INSERT INTO log", log)
    insert_rows(connection, "INSERT INTO body", [(row[0], meta, in_row(body)) for row, _, meta, body in messages])
    for row, _, _, body in messages:
        if is_apart(body):
            write_body(connection, row[0], body)


def load_positions(connection: sqlite3.Connection, names: Sequence[str]) -> dict[str, int]:
    """Saved positions of those of these cursors that there are."""
    found: dict[str, int] = {}
    for run in in_runs(names, None):
        marks = ", ".join("?" * len(run))
        found.update(connection.execute(f"SELECT name, position FROM cursor WHERE name IN ({marks})", run))
    return found


def save_cursors(connection: sqlite3.Connection, cursors: Mapping[str, Noted | None], now_us: int) -> None:
    """Write cursors, and delete those that are None."""
    rows = [(name, saved.position, now_us, saved.note) for name, saved in cursors.items() if saved]
    insert_rows(connection, "REPLACE INTO cursor", rows)
    for names in in_runs([name for name, saved in cursors.items() if saved is None], None):
        connection.execute(f"DELETE FROM cursor WHERE name IN ({', '.join('?' * len(names))})", names)


def load_cursors(connection: sqlite3.Connection, prefix: str) -> list[SavedCursor]:
    """Saved cursors whose names begin with `prefix`, sorted by name. Raises `ValueError` if some are garbled."""
    # All columns: those of an earlier version have no notes, and are not migrated while the file can only be read.
    rows = connection.execute(
        "SELECT * FROM cursor WHERE name >= :prefix AND substr(name, 1, length(:prefix)) = :prefix ORDER BY name",
        {"prefix": prefix},
    )
    return [SavedCursor(str(row[0]), int(row[1]), int(row[2]), *map(str, row[3:])) for row in rows]


def load_page(
    connection: sqlite3.Connection,
    epoch: str,
    wanted: TopicFilter,
    scan: ScanRange,
    *,
    limit: int,
    max_bytes: int,
    newest: bool,
) -> Page:
    """Page of the messages that `wanted` selects in `scan`, limited like that of `Log.read`.

    Raises `ValueError` or `TypeError` if some may be missing.
    """
    condition, topics = _wanted(wanted)
    order = "DESC" if newest else "ASC"
    these = (
        f"(SELECT * FROM log WHERE position > ? AND position <= ? AND ({condition} OR {IS_GARBLED})"
        f" ORDER BY position {order} LIMIT ?)"
    )
    found = connection.execute(
        f"SELECT json_group_array(position), json_group_array(size) FROM {these}", (scan.low, scan.high, *topics, limit)
    ).fetchone()
    positions, sizes = map(json.loads, found)
    if len(positions) == limit:
        scan = replace(scan, low=positions[-1] - 1) if newest else replace(scan, high=positions[-1])
    check_complete(connection, scan, positions, newest=newest)
    if not positions:
        return Page([], scan.end)
    # Sizes first, from the narrow table, so that no body is read that does not fit.
    fitting = max(1, bisect_right(list(accumulate(sizes)), max_bytes))
    last = positions[fitting - 1]
    low, high = (last - 1, scan.high) if newest else (scan.low, last)
    # A body larger than the page is alone in it.
    alone = last if sizes[0] > max_bytes else None
    messages = _load_messages(connection, epoch, these, (low, high, *topics, fitting), alone=alone)
    complete = fitting == len(positions) < limit
    return Page(messages, scan.end if complete else last)


def count_messages(connection: sqlite3.Connection, wanted: TopicFilter, scan: ScanRange, limit: int) -> tuple[int, int]:
    """Number of the messages in `scan` that `wanted` selects, up to `limit`, and time of the oldest, 0 without one."""
    condition, topics = _wanted(wanted)
    number, oldest_us = connection.execute(
        "SELECT count(*), coalesce(min(time_us), 0) FROM"
        f" (SELECT time_us FROM log WHERE position > ? AND position <= ? AND ({condition}) ORDER BY position LIMIT ?)",
        (scan.low, scan.high, *topics, limit),
    ).fetchone()
    return int(number), int(oldest_us)


def condition_of(wanted: TopicFilter) -> tuple[str, list[str]]:
    """Condition that a topic is selected by `wanted`, and its values."""
    conditions: list[str] = []
    topics: list[str] = []
    for pattern in wanted.patterns:
        # '0' follows '/' in ASCII: the range of everything beneath a topic ends there.
        if pattern == "":
            conditions.append("topic < '/' OR topic >= '0'")
        elif is_subtree(pattern):
            conditions.append("topic >= ? AND topic < ?")
            topics += pattern, f"{pattern[:-1]}0"
        else:
            conditions.append("topic = ?")
            topics.append(pattern)
    return " OR ".join(conditions), topics


def check_complete(
    connection: sqlite3.Connection, scan: ScanRange, found: Sequence[int], *, newest: bool = False
) -> None:
    """Raise `ValueError` unless `scan` has all positions that it must have, and those found there are in order.

    Damage does not always make SQLite fail: the keys of a page may be overwritten, or it may be another page.
    """
    walk = [scan.high + 1 if newest else scan.low, *found]
    if any(map(le if newest else ge, walk, walk[1:])):
        raise ValueError(f"messages after {scan.low} are out of order")
    low = max(scan.low, scan.dense)
    # The same walk as that of the query, since one that meets overwritten keys may end anywhere: from the same end, and
    # in the same order, which SQLite would leave out without a limit; `+` keeps it from beginning elsewhere.
    order = "ORDER BY position DESC LIMIT -1" if newest else ""
    count, total = connection.execute(
        "SELECT count(*), coalesce(sum(position), 0) FROM"
        f" (SELECT position FROM log WHERE position > ? AND position <= ? {order}) WHERE +position > ?",
        (scan.low, scan.high, low),
    ).fetchone()
    expected = max(scan.high - low, 0)
    if count != expected or 2 * total != count * (low + 1 + scan.high):
        raise ValueError(f"messages are missing between {low} and {scan.high}")


def _load_messages(
    connection: sqlite3.Connection, epoch: str, these: str, values: tuple[Any, ...], *, alone: int | None
) -> list[Message]:
    """The messages of a subquery, to which its last value is the limit; or the one at the position `alone`."""
    joined = "CAST(group_concat(body, '') AS BLOB)" if alone is None else "NULL"
    # CROSS JOIN keeps SQLite from reordering the tables, so messages and bodies come in the order of the subquery.
    *columns, metas, bodies = connection.execute(
        f"SELECT {', '.join(f'json_group_array({column})' for column in _COLUMNS)}, group_concat(meta, char(10)),"
        f" {joined} FROM {these} CROSS JOIN body USING (position)",
        values,
    ).fetchone()
    found = Columns(*[*map(json.loads, columns), metas.split("\n") if metas else []])
    # Retention has deleted the others in between, or damage their bodies: the join omits them silently.
    if len(found.metas) < values[-1]:
        raise ValueError(f"{values[-1] - len(found.metas)} messages have no body")
    if alone is not None:
        bodies = read_body(connection, alone)
    return list(decode(epoch, found, bodies or b""))


def _wanted(wanted: TopicFilter) -> tuple[str, list[str]]:
    """Condition that a filter selects a message. What somebody deleted has no size."""
    condition, topics = condition_of(wanted)
    return f"size > 0 AND ({condition})", topics
