"""Retention in the PostgreSQL log, on a real server."""

from dataclasses import replace
from threading import Thread
from typing import Any

import psycopg
import pytest

from hookbot.log.budgets import ROOTS, Partitions
from hookbot.log.postgres_queries import load_rows
from hookbot.log.postgres_retention import count_none, count_on, forget_keys, load_lost, trim_partition
from hookbot.log.retention import STEP_ROWS, Deleted, Partition, Retention, RetentionLimits
from hookbot.protocol.message import Draft, Once
from hookbot.protocol.topics import UNSAFE
from support.messages import EPOCH
from support.postgres import PostgresServer
from support.postgres_tables import HUB, TIME_US, connected, leave_hole, store

KEEP_ALL = Retention(max_age_s=None, max_bytes=None, max_unsafe_bytes=None)


@pytest.fixture(autouse=True)
def duty(connection: psycopg.Connection[Any]) -> None:
    connection.execute("INSERT INTO duty VALUES ('trim', %s, 3, now())", (HUB,))


def limits(*, unsafe: bool = False, now_us: int = TIME_US, **kept: Any) -> RetentionLimits:
    return replace(KEEP_ALL, **kept).limits(now_us)[UNSAFE if unsafe else ""]


def trim(
    connection: psycopg.Connection[Any],
    partitions: Partitions,
    prefix: str = "",
    *,
    scan_length: int = 1000,
    hub: str = HUB,
    fence: int = 3,
    **kept: Any,
) -> Partition | None:
    limit = limits(unsafe=prefix == UNSAFE, **kept)
    return trim_partition(connection, partitions, prefix, limit, scan_length=scan_length, hub=hub, fence=fence)


def left(connection: psycopg.Connection[Any]) -> list[int]:
    return [
        message.position for message in load_rows(connection, EPOCH, 0, None, limit=10_000, max_bytes=1 << 40).messages
    ]


def recount(connection: psycopg.Connection[Any], *prefixes: str, up_to: int = 1 << 40, limit: int = 3) -> Partitions:
    """Totals of all messages, counted in steps."""
    begun, after = count_none(connection, {*ROOTS, *prefixes}, hub=HUB, fence=3), 0
    assert begun is not None
    partitions, _ = begun
    while after < up_to:
        partitions, after = count_on(connection, partitions, after=after, up_to=up_to, limit=limit)
    return partitions


def is_idle(connection: psycopg.Connection[Any]) -> bool:
    return connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE


# Totals


def test_a_new_log_has_two_empty_partitions(connection: psycopg.Connection[Any]) -> None:
    assert recount(connection).by_prefix == {"": Partition(), UNSAFE: Partition()}
    assert load_lost(connection) == {"": Deleted(), UNSAFE: Deleted()}


def test_messages_are_counted_like_those_that_were_added(connection: psycopg.Connection[Any]) -> None:
    expected = Partitions.empty()
    for clock_us in (TIME_US, TIME_US + 5):
        for draft in (Draft("a", b"x"), Draft("/unsafe/a"), Draft("b"), Draft("/unsafe/b", bytes(99))):
            [message] = store(connection, draft, clock_us=clock_us)
            row = message.position, message.time_us, message.size
            expected = expected.grown({expected.budgets.of(draft.topic): [row]})
            leave_hole(connection)

    expected = expected.updated({prefix: replace(one, head_us=0) for prefix, one in expected.by_prefix.items()})
    assert recount(connection).by_prefix == expected.by_prefix
    assert is_idle(connection)


def test_a_partition_without_messages_ends_where_it_was_passed(connection: psycopg.Connection[Any]) -> None:
    connection.execute("UPDATE budget SET lost = 1, lost_us = 2, passed = 3 WHERE prefix <> ''")

    assert recount(connection).by_prefix == {
        "": Partition(),
        UNSAFE: Partition(head=3, head_us=2, lost=1, lost_us=2, passed=3),
    }


# Steps


@pytest.mark.parametrize("unsafe", [False, True])
def test_a_step_deletes_the_oldest_messages_of_one_partition(connection: psycopg.Connection[Any], unsafe: bool) -> None:
    store(connection, *[Draft("a"), Draft("/unsafe/a")] * 4)
    prefix = UNSAFE if unsafe else ""

    trimmed = trim(connection, recount(connection), prefix, max_count=2)

    gone = [2, 4] if unsafe else [1, 3]
    assert left(connection) == sorted(set(range(1, 9)) - set(gone))
    assert connection.execute("SELECT count(*) FROM body").fetchall() == [(6,)]
    assert trimmed == replace(recount(connection).by_prefix[prefix], head_us=0)
    assert trimmed is not None
    assert (trimmed.count, trimmed.lost, trimmed.lost_us, trimmed.passed) == (2, gone[-1], TIME_US, gone[-1] + 1)
    lost = load_lost(connection)
    assert lost.pop(prefix) == Deleted(gone[-1], TIME_US, gone[-1] + 1)
    assert list(lost.values()) == [Deleted()]


def test_steps_over_holes_end_with_nothing_left(connection: psycopg.Connection[Any]) -> None:
    for _ in range(3):
        store(connection, Draft("a"))
        leave_hole(connection, 25)
    partitions, limit = recount(connection), limits(max_count=0)

    while (partition := partitions.by_prefix[""]).due(limit):
        trimmed = trim(connection, partitions, scan_length=10, max_count=0)
        assert trimmed is not None
        partitions = partitions.updated({"": trimmed})

    assert (partition.count, partition.size, partition.lost, partition.passed) == (0, 0, 53, 53)
    assert left(connection) == []
    assert recount(connection).by_prefix[""] == replace(partition, oldest_us=0, head_us=TIME_US)


def test_a_step_is_limited(connection: psycopg.Connection[Any]) -> None:
    store(connection, *[Draft("a")] * (STEP_ROWS + 10))

    trim(connection, recount(connection), max_count=0)

    assert len(left(connection)) == 10


def test_nothing_is_deleted_that_does_not_exceed_the_limits(connection: psycopg.Connection[Any]) -> None:
    store(connection, *[Draft("a")] * 3)
    partitions = recount(connection)

    assert trim(connection, partitions, max_count=3) == partitions.by_prefix[""]
    assert left(connection) == [1, 2, 3]


@pytest.mark.parametrize(("hub", "fence"), [("hub-2", 3), (HUB, 2)])
def test_who_has_lost_the_duty_deletes_nothing(connection: psycopg.Connection[Any], hub: str, fence: int) -> None:
    store(connection, *[Draft("a")] * 3)

    assert trim(connection, recount(connection), hub=hub, fence=fence, max_count=0) is None
    assert left(connection) == [1, 2, 3]
    assert load_lost(connection) == {"": Deleted(), UNSAFE: Deleted()}
    assert is_idle(connection)


def test_a_step_waits_for_who_takes_the_duty_over(
    connection: psycopg.Connection[Any], postgres: PostgresServer, schema: str
) -> None:
    store(connection, *[Draft("a")] * 3)
    partitions = recount(connection)
    outcomes = []
    with connected(postgres, schema) as other:
        thread = Thread(target=lambda: outcomes.append(trim(other, partitions, max_count=0)))
        with connection.transaction():
            connection.execute("UPDATE duty SET hub = 'hub-2', fence = 4 WHERE name = 'trim'")
            thread.start()
            blocked = "SELECT 1 FROM pg_locks WHERE pid = %s AND NOT granted"
            while not postgres.execute(blocked, other.info.backend_pid):
                pass
        thread.join()

    assert outcomes == [None]
    assert left(connection) == [1, 2, 3]


# Keys


def keyed(number: int, *, topic: str = "a") -> Draft:
    return Draft(topic, once=(Once("idempotency", topic, str(number), exclusive=True),))


def keys(connection: psycopg.Connection[Any]) -> list[int]:
    return [position for (position,) in connection.execute("SELECT position FROM once ORDER BY position")]


def test_keys_are_forgotten_when_they_have_expired(connection: psycopg.Connection[Any]) -> None:
    for number in range(4):
        store(connection, keyed(number), clock_us=TIME_US + number)

    more = forget_keys(connection, TIME_US + 2, unsafe=False)

    assert not more
    assert keys(connection) == [3, 4]
    assert not forget_keys(connection, TIME_US + 2, unsafe=False)
    assert keys(connection) == [3, 4]


def test_keys_of_untrusted_clients_are_forgotten_with_their_messages(connection: psycopg.Connection[Any]) -> None:
    store(connection, keyed(1, topic="/unsafe/a"), keyed(2), keyed(3, topic="/unsafe/a"))

    trim(connection, recount(connection), UNSAFE, max_count=1)

    assert keys(connection) == [2, 3]


def test_keys_are_forgotten_in_steps(connection: psycopg.Connection[Any]) -> None:
    store(connection, *map(keyed, range(STEP_ROWS + 1)))

    assert forget_keys(connection, TIME_US + 1, unsafe=False)
    assert keys(connection) == [STEP_ROWS + 1]
    assert not forget_keys(connection, TIME_US + 1, unsafe=False)
    assert keys(connection) == []
