"""The repair of a log's identity and totals, each on one page of the file, without which it cannot be opened.

Both are rebuilt from what can be read of the messages. A log whose newest position is not certain, or whose name is
damaged, gets another name: then subscribers that resume start with the oldest message, instead of missing some.
"""

# ruff: noqa: S608 - only constants of this file and numbers are formatted into statements

import logging
import sqlite3
from dataclasses import astuple

from . import sqlite_damage as damage
from . import sqlite_queries as queries
from .budgets import ROOTS, Partitions
from .engine import new_epoch
from .retention import Partition
from .sqlite_errors import GARBLED, raise_unless_damage
from .sqlite_retention import load_partitions
from .sqlite_rows import insert_rows
from .sqlite_schema import partitions_table

_NEWEST = "SELECT max(position) FROM log"
# They have the position of the newest message, too, or of one shortly before it.
_ALSO_NEWEST = (
    "SELECT max(position) FROM body",
    "SELECT max(position) FROM once WHERE unsafe = 0",
    "SELECT max(position) FROM once WHERE unsafe = 1",
)
_NEWEST_TIME = "SELECT time_us FROM log ORDER BY position DESC LIMIT 1"
# The size of a message is an estimate, for a tiny one twice what it takes: a log that is whole must not seem damaged.
_MAX_SIZE = "SELECT 4 * page_count * page_size FROM pragma_page_count, pragma_page_size"

logger = logging.getLogger(__package__)


def repair(connection: sqlite3.Connection) -> None:
    """Rebuild the identity and the totals of a log if they are damaged. Raises one of `GARBLED` if that fails."""
    epoch, stored = _load_epoch(connection), _load_partitions(connection)
    are_possible = stored is not None and _are_possible(connection, stored)
    if epoch and are_possible:
        return
    newest = _number(connection, _NEWEST)
    head = max(newest, *(_number(connection, query) for query in _ALSO_NEWEST))
    is_certain = are_possible or (head == newest >= (stored.head if stored else 0) and newest)
    name = epoch if epoch and is_certain else new_epoch()
    counted = stored if stored and are_possible else _count(connection, head)
    with queries.transaction(connection):
        _make_again(connection, partitions_table(connection))
        _save_partitions(connection, counted)
        _make_again(connection, "identity")
        connection.execute("INSERT INTO identity (epoch) VALUES (?)", (name,))
        # Any key may be an earlier one.
        if "earlier_keys" in [row[1] for row in connection.execute("PRAGMA table_info(identity)")]:
            connection.execute("UPDATE identity SET earlier_keys = ?", (head,))
    logger.error(
        "the log was damaged where its name and totals are: they are rebuilt from its %d messages, and its name is %s",
        counted.count,
        "the same" if name == epoch else "a new one, so that subscribers start with the oldest",
    )


def _load_epoch(connection: sqlite3.Connection) -> str | None:
    try:
        return queries.load_epoch(connection)
    except GARBLED as error:
        raise_unless_damage(error)
        return None


def _load_partitions(connection: sqlite3.Connection) -> Partitions | None:
    """Totals of the partitions; None if they are damaged."""
    try:
        return load_partitions(connection)
    except GARBLED as error:
        raise_unless_damage(error)
        return None


def _save_partitions(connection: sqlite3.Connection, partitions: Partitions) -> None:
    table = partitions_table(connection)
    # A file that is not migrated yet has numbers in place of the prefixes, and may lack the last of these columns.
    width = len(connection.execute(f"PRAGMA table_info({table})").fetchall())
    keys = {prefix: prefix if table == "budget" else ROOTS.index(prefix) for prefix in partitions.by_prefix}
    rows = [(keys[prefix], *astuple(partition))[:width] for prefix, partition in partitions.by_prefix.items()]
    insert_rows(connection, f"INSERT INTO {table}", rows)


def _are_possible(connection: sqlite3.Connection, partitions: Partitions) -> bool:
    """False if damage has changed the totals."""
    max_size = _number(connection, _MAX_SIZE)
    if not all(partition.is_possible(max_size=max_size) for partition in partitions.by_prefix.values()):
        return False
    head, dense = partitions.head, partitions.dense
    # Retention may have deleted the newest messages, all those of one partition.
    is_there = head == dense or any(_have(connection, head))
    return dense <= head and is_there and not all(_have(connection, head + 1))


def _have(connection: sqlite3.Connection, position: int) -> list[bool]:
    """True for each table of messages that has the position, or is damaged there."""
    queries = (f"SELECT count(*) FROM {table} WHERE position = {position}" for table in ("log", "body"))
    return [_number(connection, query, otherwise=1) > 0 for query in queries]


def _count(connection: sqlite3.Connection, head: int) -> Partitions:
    """Totals of the messages that can be read, by the budgets that each log has; retention makes others of them."""
    head_us = _number(connection, _NEWEST_TIME)
    partitions = Partitions.empty()
    for prefix in ROOTS:
        first = damage.first_of(connection, 0, head, partitions.budgets, prefix)
        position, time_us = first or (head + 1, head_us)
        # How many messages retention has deleted is unknown, and which: all positions before the first that is left.
        totals = Partition(head, head_us, lost=position - 1, lost_us=time_us, passed=position - 1, oldest_us=time_us)
        partitions = partitions.updated({prefix: totals})
    return partitions.updated({prefix: damage.count_again(connection, partitions, prefix) for prefix in ROOTS})


def _number(connection: sqlite3.Connection, query: str, *, otherwise: int = 0) -> int:
    """Result of a query for one number, 0 if there is none; `otherwise` if it is damaged."""
    try:
        row = connection.execute(query).fetchone()
        return int(row[0] or 0) if row else 0
    except GARBLED as error:
        raise_unless_damage(error)
        return otherwise


def _make_again(connection: sqlite3.Connection, table: str) -> None:
    """Make an empty table in place of one whose page may be damaged, so that it cannot even be dropped.

    The page stays in the file, unused.
    """
    [definition] = connection.execute("SELECT sql FROM sqlite_master WHERE name = ?", (table,)).fetchone()
    connection.execute("PRAGMA writable_schema = ON")
    connection.execute("DELETE FROM sqlite_master WHERE name = ?", (table,))
    # Turns it off, and makes the connection read the schema again.
    connection.execute("PRAGMA writable_schema = RESET")
    connection.execute(definition)
