"""Retention in the PostgreSQL log: what it has lost, its totals, and the steps that delete. They run in threads.

Only the hub that has the duty to trim deletes. It counts the messages when it takes the duty over, and then adds those
that it hears of: a total that each batch had to write would be one more row for all hubs to change.
"""

# ruff: noqa: S608 - only constants of this file are formatted into statements; values are bound

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..protocol.topics import is_unsafe
from .budgets import Partitions
from .duties import TRIM
from .postgres_batch import BEGIN, one_trip
from .postgres_topics import IN_BUDGET, in_budget
from .retention import STEP_ROWS, Deleted, Partition, RetentionLimits, Row

if TYPE_CHECKING:
    from psycopg import Connection, Cursor

_LOAD_LOST = "SELECT prefix, lost, lost_us, passed, generation FROM budget ORDER BY prefix"
# What somebody deleted has no size.
_COUNT = """
    SELECT topic, count(*) FILTER (WHERE size > 0), sum(size)::bigint, min(time_us), max(position), count(*)
    FROM (
        SELECT * FROM log WHERE position > %b::bigint AND position <= %b::bigint ORDER BY position LIMIT %b::bigint
    ) next GROUP BY topic
    """
# Locked until the commit, so that nobody takes the duty over before it.
_HOLD_DUTY = "SELECT FROM duty WHERE name = %b::text AND hub = %b::text AND fence = %b::bigint FOR SHARE"
_LOAD_OLDEST = f"""
    SELECT position, time_us, size FROM log
    WHERE position > %(low)b::bigint AND position <= %(high)b::bigint AND {IN_BUDGET}
    ORDER BY position LIMIT %(limit)b::bigint
    """
_DELETE_LOG = "DELETE FROM log WHERE position = ANY(%b::bigint[])"
_DELETE_BODY = "DELETE FROM body WHERE position = ANY(%b::bigint[])"
_DELETE_KEYS = "DELETE FROM once WHERE unsafe AND position = ANY(%b::bigint[])"
_SAVE_LOST = """
    UPDATE budget SET lost = %b::bigint, lost_us = %b::bigint, passed = %b::bigint WHERE prefix = %b::text
    """
_DELETE_BUDGETS = "DELETE FROM budget"
_INSERT_BUDGETS = """
    INSERT INTO budget SELECT *, %b::bigint FROM unnest(%b::text[], %b::bigint[], %b::bigint[], %b::bigint[])
    """
_FORGET_KEYS = """
    WITH oldest AS (
        SELECT position, time_us FROM once WHERE unsafe = %(unsafe)b::boolean ORDER BY position LIMIT %(limit)b::bigint
    ), gone AS (
        SELECT max(position) AS last, count(*) AS number FROM oldest
        WHERE time_us < %(before_us)b::bigint
    ), deleted AS (
        DELETE FROM once WHERE unsafe = %(unsafe)b::boolean AND position <= (SELECT last FROM gone)
    )
    SELECT number FROM gone
    """


class Losses(dict[str, Deleted]):
    """Part of each budget that retention has deleted, by their prefixes; made from rows of the table."""

    def __init__(self, rows: Iterable[Sequence[Any]]) -> None:
        super().__init__()
        self.generation = 0
        """Number that is higher after there were other budgets."""
        for prefix, *lost, self.generation in rows:
            self[prefix] = Deleted(*lost)


def load_lost(connection: "Connection[Any]") -> Losses:
    """Part of each budget that is lost, by their prefixes."""
    return lost_of(query_lost(connection))


def query_lost(connection: "Connection[Any]") -> "Cursor[Any]":
    """The query of `load_lost`, whose result `lost_of` takes when it is there."""
    return connection.execute(_LOAD_LOST, binary=True)


def lost_of(found: "Cursor[Any]") -> Losses:
    """Part of each budget that is lost, from a `query_lost`."""
    return Losses(found)


def save_budgets(connection: "Connection[Any]", lost: Mapping[str, Deleted], *, generation: int = 0) -> None:
    """Replace all budgets by these, of each what is lost."""
    connection.execute(_DELETE_BUDGETS)
    columns = zip(*[(prefix, *one) for prefix, one in lost.items()], strict=True)
    connection.execute(_INSERT_BUDGETS, [generation, *map(list, columns)])


def count_none(
    connection: "Connection[Any]", prefixes: Collection[str], *, hub: str, fence: int
) -> tuple[Partitions, int] | None:
    """Partitions of budgets, without any messages, and their generation: they are stored if there were others before.

    The head of each is what it has passed. None if `hub` does not have the duty with this `fence` any more.
    """
    with one_trip(connection):
        connection.execute(BEGIN)
        duty = connection.execute(_HOLD_DUTY, (TRIM, hub, fence))
        found = query_lost(connection)
    if not duty.rowcount:
        connection.rollback()
        return None
    lost = lost_of(found)
    stored = {prefix: Partition(one.passed, one.lost_us, 0, 0, *one) for prefix, one in lost.items()}
    partitions = Partitions.of(stored)
    with one_trip(connection):
        if lost.keys() != set(prefixes):
            partitions = partitions.regrouped(prefixes)
            lost.generation += 1
            save_budgets(connection, partitions.deleted, generation=lost.generation)
        connection.execute("COMMIT")
    return partitions, lost.generation


def count_on(
    connection: "Connection[Any]", partitions: Partitions, *, after: int, up_to: int, limit: int
) -> tuple[Partitions, int]:
    """Totals with the next messages after a position up to another one, and where these end: in steps of `limit`."""
    rows = connection.execute(_COUNT, (after, up_to, limit), binary=True).fetchall()
    ends = sum(row[-1] for row in rows) < limit
    return partitions.counting(row[:-1] for row in rows), up_to if ends else max(row[-2] for row in rows)


def trim_partition(
    connection: "Connection[Any]",
    partitions: Partitions,
    prefix: str,
    limits: RetentionLimits,
    *,
    scan_length: int,
    hub: str,
    fence: int,
) -> Partition | None:
    """Delete one step of the messages of a budget that exceed `limits`, and return its partition after that.

    None if `hub` does not have the duty to do so with this `fence` any more: then nothing is deleted.
    """
    partition = partitions.by_prefix[prefix]
    high = min(partition.passed + scan_length, partition.head)
    bounds = {"low": partition.passed, "high": high, "limit": STEP_ROWS}
    with one_trip(connection):
        connection.execute(BEGIN)
        duty = connection.execute(_HOLD_DUTY, (TRIM, hub, fence))
        found = connection.execute(_LOAD_OLDEST, {**bounds, **in_budget(partitions.budgets, prefix)}, binary=True)
    if not duty.rowcount:
        connection.rollback()
        return None
    oldest: list[Row] = found.fetchall()
    taken = partition.doomed(oldest, limits)
    trimmed = partition.shrunk(oldest, taken) if oldest else replace(partition, passed=high)
    with one_trip(connection):
        if taken:
            doomed = [row[0] for row in oldest[:taken]]
            if is_unsafe(prefix):
                # Of untrusted clients: they must not fill the disk with keys.
                connection.execute(_DELETE_KEYS, (doomed,))
            connection.execute(_DELETE_BODY, (doomed,))
            connection.execute(_DELETE_LOG, (doomed,))
        connection.execute(_SAVE_LOST, (*trimmed.deleted, prefix))
        connection.execute("COMMIT")
    return trimmed


def forget_keys(connection: "Connection[Any]", before_us: int, *, unsafe: bool) -> bool:
    """Delete one step of the keys from before a time. True if there may be more."""
    values = {"unsafe": unsafe, "limit": STEP_ROWS, "before_us": before_us}
    [(count,)] = connection.execute(_FORGET_KEYS, values, binary=True)
    return bool(count == STEP_ROWS)
