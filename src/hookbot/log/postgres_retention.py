"""Retention in the PostgreSQL log: what it has lost, its totals, and the steps that delete. They run in threads.

Only the hub that has the duty to trim deletes. It counts the messages when it takes the duty over, and then adds those
that it hears of: a total that each batch had to write would be one more row for all hubs to change.
"""

# ruff: noqa: S608 - only constants of this file are formatted into statements; values are bound

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..protocol.topics import UNSAFE
from .duties import TRIM
from .postgres_batch import BEGIN, one_trip
from .retention import STEP_ROWS, Deleted, Partition, RetentionLimits, Row

if TYPE_CHECKING:
    from psycopg import Connection, Cursor

_IN_PARTITION = f"starts_with(topic, '{UNSAFE}') = %(unsafe)b::boolean"
_LOAD_LOST = "SELECT lost, lost_us, passed FROM half ORDER BY unsafe"
_COUNT = f"""
    SELECT starts_with(topic, '{UNSAFE}'), max(position), max(time_us), count(*) FILTER (WHERE size > 0),
        sum(size)::bigint, min(time_us), count(*)
    FROM (
        SELECT * FROM log WHERE position > %b::bigint AND position <= %b::bigint ORDER BY position LIMIT %b::bigint
    ) next GROUP BY 1
    """
# Locked until the commit, so that nobody takes the duty over before it.
_HOLD_DUTY = "SELECT FROM duty WHERE name = %b::text AND hub = %b::text AND fence = %b::bigint FOR SHARE"
_LOAD_OLDEST = f"""
    SELECT position, time_us, size FROM log
    WHERE position > %(low)b::bigint AND position <= %(high)b::bigint AND {_IN_PARTITION}
    ORDER BY position LIMIT %(limit)b::bigint
    """
_DELETE_LOG = "DELETE FROM log WHERE position = ANY(%b::bigint[])"
_DELETE_BODY = "DELETE FROM body WHERE position = ANY(%b::bigint[])"
_SAVE_LOST = """
    UPDATE half SET lost = %b::bigint, lost_us = %b::bigint, passed = %b::bigint WHERE unsafe = %b::boolean
    """
_FORGET_KEYS = """
    WITH oldest AS (
        SELECT position, time_us FROM once WHERE unsafe = %(unsafe)b::boolean ORDER BY position LIMIT %(limit)b::bigint
    ), gone AS (
        SELECT max(position) AS last, count(*) AS number FROM oldest
        WHERE time_us < %(before_us)b::bigint OR position <= %(lost)b::bigint
    ), deleted AS (
        DELETE FROM once WHERE unsafe = %(unsafe)b::boolean AND position <= (SELECT last FROM gone)
    )
    SELECT number FROM gone
    """


def load_half(connection: "Connection[Any]") -> list[Deleted]:
    """What is lost of the safe and of the unsafe partition."""
    return lost_of(query_lost(connection))


def query_lost(connection: "Connection[Any]") -> "Cursor[Any]":
    """The query of `load_half`, whose result `lost_of` takes when it is there."""
    return connection.execute(_LOAD_LOST, binary=True)


def lost_of(found: "Cursor[Any]") -> list[Deleted]:
    """What is lost of the safe and of the unsafe partition, from a `query_lost`."""
    return [Deleted(*row) for row in found]


def count_none(connection: "Connection[Any]") -> list[Partition]:
    """Totals of both partitions without any messages; the head of each is what it has passed."""
    return [Partition(half.passed, half.lost_us, 0, 0, *half) for half in load_half(connection)]


def count_on(
    connection: "Connection[Any]", partitions: Sequence[Partition], *, after: int, up_to: int, limit: int
) -> tuple[list[Partition], int]:
    """Totals with the next messages after a position up to another one, and where these end: in steps of `limit`."""
    rows = connection.execute(_COUNT, (after, up_to, limit), binary=True).fetchall()
    counted = list(partitions)
    for unsafe, head, head_us, count, size, oldest_us, _ in rows:
        known = counted[unsafe]
        counted[unsafe] = replace(
            known,
            head=head,
            head_us=head_us,
            count=known.count + count,
            size=known.size + size,
            oldest_us=known.oldest_us if known.count else oldest_us,
        )
    ends = sum(row[-1] for row in rows) < limit
    return counted, up_to if ends else max(row[1] for row in rows)


def trim_partition(
    connection: "Connection[Any]",
    partition: Partition,
    limits: RetentionLimits,
    *,
    unsafe: bool,
    scan_length: int,
    hub: str,
    fence: int,
) -> Partition | None:
    """Delete one step of the messages that exceed `limits`, and return the partition after that.

    None if `hub` does not have the duty to do so with this `fence` any more: then nothing is deleted.
    """
    high = min(partition.passed + scan_length, partition.head)
    bounds = {"low": partition.passed, "high": high, "unsafe": unsafe, "limit": STEP_ROWS}
    with one_trip(connection):
        connection.execute(BEGIN)
        duty = connection.execute(_HOLD_DUTY, (TRIM, hub, fence))
        found = connection.execute(_LOAD_OLDEST, bounds, binary=True)
    if not duty.rowcount:
        connection.rollback()
        return None
    oldest: list[Row] = found.fetchall()
    taken = partition.doomed(oldest, limits)
    trimmed = partition.shrunk(oldest, taken) if oldest else replace(partition, passed=high)
    with one_trip(connection):
        if taken:
            doomed = [row[0] for row in oldest[:taken]]
            connection.execute(_DELETE_BODY, (doomed,))
            connection.execute(_DELETE_LOG, (doomed,))
        connection.execute(_SAVE_LOST, (trimmed.lost, trimmed.lost_us, trimmed.passed, unsafe))
        connection.execute("COMMIT")
    return trimmed


def forget_keys(connection: "Connection[Any]", limits: RetentionLimits, *, lost: int, unsafe: bool) -> bool:
    """Delete one step of the keys that have expired, or belong to messages up to `lost`. True if there may be more."""
    values = {"unsafe": unsafe, "limit": STEP_ROWS, "before_us": limits.keys_before_us, "lost": lost}
    [(count,)] = connection.execute(_FORGET_KEYS, values, binary=True)
    return bool(count == STEP_ROWS)
