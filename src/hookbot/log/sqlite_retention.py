"""Retention in the SQLite log: the totals of its partitions, and the steps that count and delete.

They run in threads.
"""

# ruff: noqa: S608 - only constants of this house are formatted into statements; values are bound

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from operator import attrgetter
from typing import Any

from ..protocol.topics import TopicFilter, is_unsafe
from .budgets import ROOTS, Budgets, Partitions
from .engine import ScanRange
from .retention import STEP_ROWS, Partition, RetentionLimits, Row
from .sqlite_queries import IS_GARBLED, check_complete, condition_of
from .sqlite_rows import insert_rows
from .sqlite_schema import partitions_table

_account = attrgetter(*[field.name for field in fields(Partition)])


def load_partitions(connection: sqlite3.Connection) -> Partitions:
    """Totals of the partitions. Raises `ValueError` if they are garbled."""
    table = partitions_table(connection)
    # All columns: a file that is not migrated yet lacks the last one.
    rows = connection.execute(f"SELECT * FROM {table}").fetchall()
    earlier = dict(enumerate(ROOTS))
    found = {earlier.get(key) if table == "half" else key: totals for key, *totals in rows}
    are_garbled = any(not isinstance(prefix, str) for prefix in found) or not found.keys() >= set(ROOTS)
    if are_garbled or not all(isinstance(number, int) for totals in found.values() for number in totals):
        raise ValueError("the totals of its messages are garbled")
    return Partitions.of({str(prefix): Partition(*totals) for prefix, totals in found.items()})


def save_partitions(connection: sqlite3.Connection, partitions: Partitions, stored: Partitions | None = None) -> None:
    """Write the totals of the partitions, except for those that are `stored` as they are, and with the same others."""
    before: Mapping[str, Partition] = {}
    if stored and stored.budgets is partitions.budgets:
        before = stored.by_prefix
    else:
        connection.execute("DELETE FROM budget")
    now = partitions.by_prefix.items()
    rows = [(prefix, *_account(partition)) for prefix, partition in now if partition is not before.get(prefix)]
    insert_rows(connection, "REPLACE INTO budget", rows)


def count_on(
    connection: sqlite3.Connection, partitions: Partitions, *, after: int, up_to: int, limit: int
) -> tuple[Partitions, int]:
    """Totals with the next messages after a position up to another one, and where these end: in steps of `limit`."""
    high = min(after + limit, up_to)
    [found] = connection.execute(
        "SELECT json_group_array(json_array(topic, number, size, time_us)) FROM"
        " (SELECT topic, count(*) AS number, sum(size) AS size, min(time_us) AS time_us FROM log"
        " WHERE position > ? AND position <= ? AND size > 0 GROUP BY topic)",
        (after, high),
    ).fetchone()
    check_complete(connection, ScanRange(after, high, high, partitions.dense), ())
    return partitions.counting(json.loads(found)), high


def trim_step(
    connection: sqlite3.Connection, partitions: Partitions, limits: Mapping[str, RetentionLimits], *, scan_length: int
) -> Partitions:
    """Trim each partition that is due by one step, write the totals, and return the partitions after that.

    Raises as `trim_partition`.
    """
    before = partitions
    for prefix in partitions.due_first(limits):
        trimmed = trim_partition(connection, partitions, prefix, limits[prefix], scan_length=scan_length)
        partitions = partitions.updated({prefix: trimmed})
    save_partitions(connection, partitions, before)
    return partitions


def trim_partition(
    connection: sqlite3.Connection,
    partitions: Partitions,
    prefix: str,
    limits: RetentionLimits,
    *,
    scan_length: int,
) -> Partition:
    """Delete one step of the messages of a budget that exceed `limits`, and return its partition after that.

    Raises `ValueError` or `TypeError` if some of the oldest messages are missing.
    """
    partition, (condition, topics) = partitions.by_prefix[prefix], in_budget(partitions.budgets, prefix)
    high = min(partition.passed + scan_length, partition.head)
    oldest = _oldest(connection, ScanRange(partition.passed, high, high, partitions.dense), condition, topics)
    if not oldest and high == partition.head and partition.count:
        raise ValueError(f"{partition.count} messages are missing")
    if not oldest:
        return replace(partition, passed=high)
    taken = partition.doomed(oldest, limits)
    if taken:
        values = (partition.passed, oldest[taken - 1][0], *topics)
        these = f"position > ? AND position <= ? AND {condition}"
        if is_unsafe(prefix):
            # Of untrusted clients: they must not fill the disk with keys.
            gone = f"SELECT position FROM log WHERE {these}"
            connection.execute(f"DELETE FROM once WHERE unsafe = 1 AND position IN ({gone})", values)
        delete_messages(connection, these, values)
    return partition.shrunk(oldest, taken)


def delete_messages(connection: sqlite3.Connection, condition: str, values: Sequence[Any]) -> None:
    """Delete the messages of which a condition holds in the table `log`."""
    positions = f"position IN (SELECT position FROM log WHERE {condition})"
    connection.execute(f"DELETE FROM body WHERE {positions}", values)
    connection.execute(f"DELETE FROM log WHERE {condition}", values)


def in_budget(budgets: Budgets, prefix: str) -> tuple[str, list[str]]:
    """Condition that a topic has a budget, and its values."""
    condition, topics = condition_of(TopicFilter((prefix,)))
    others, other_topics = condition_of(budgets.others_in(prefix))
    return (f"({condition}) AND NOT ({others})", topics + other_topics) if others else (f"({condition})", topics)


def _oldest(connection: sqlite3.Connection, scan: ScanRange, condition: str, topics: Sequence[str]) -> list[Row]:
    [found] = connection.execute(
        "SELECT json_group_array(json_array(position, time_us, size)) FROM"
        f" (SELECT * FROM log WHERE position > ? AND position <= ? AND ({condition} OR {IS_GARBLED})"
        " ORDER BY position LIMIT ?)",
        (scan.low, scan.high, *topics, STEP_ROWS),
    ).fetchone()
    rows = [(int(position), int(time_us), int(size)) for position, time_us, size in json.loads(found)]
    scan = replace(scan, high=rows[-1][0]) if len(rows) == STEP_ROWS else scan
    check_complete(connection, scan, [row[0] for row in rows])
    return rows
