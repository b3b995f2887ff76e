"""Retention in the PostgreSQL log, on a real server."""

from dataclasses import replace
from threading import Thread
from typing import Any

import psycopg
import pytest

from hookbot.log.postgres_queries import load_rows
from hookbot.log.postgres_retention import count_none, count_on, forget_keys, load_half, trim_partition
from hookbot.log.retention import STEP_ROWS, Deleted, Partition, Retention, RetentionLimits
from hookbot.protocol.message import Draft, Once
from support.messages import EPOCH
from support.postgres import PostgresServer
from support.postgres_tables import HUB, TIME_US, connected, leave_hole, store

KEEP_ALL = Retention(max_age_s=None, max_bytes=None, max_unsafe_bytes=None)


@pytest.fixture(autouse=True)
def duty(connection: psycopg.Connection[Any]) -> None:
    connection.execute("INSERT INTO duty VALUES ('trim', %s, 3, now())", (HUB,))


def limits(*, unsafe: bool = False, now_us: int = TIME_US, **kept: Any) -> RetentionLimits:
    return RetentionLimits.of(replace(KEEP_ALL, **kept), unsafe=unsafe, now_us=now_us)


def trim(
    connection: psycopg.Connection[Any],
    partition: Partition,
    *,
    unsafe: bool = False,
    scan_length: int = 1000,
    hub: str = HUB,
    fence: int = 3,
    **kept: Any,
) -> Partition | None:
    limit = limits(unsafe=unsafe, **kept)
    return trim_partition(connection, partition, limit, unsafe=unsafe, scan_length=scan_length, hub=hub, fence=fence)


def left(connection: psycopg.Connection[Any]) -> list[int]:
    return [
        message.position for message in load_rows(connection, EPOCH, 0, None, limit=10_000, max_bytes=1 << 40).messages
    ]


def recount(connection: psycopg.Connection[Any], *, up_to: int = 1 << 40, limit: int = 3) -> list[Partition]:
    """Totals of all messages, counted in steps."""
    partitions, after = count_none(connection), 0
    while after < up_to:
        partitions, after = count_on(connection, partitions, after=after, up_to=up_to, limit=limit)
    return partitions


def is_idle(connection: psycopg.Connection[Any]) -> bool:
    return connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE


# Totals


def test_a_new_log_has_two_empty_partitions(connection: psycopg.Connection[Any]) -> None:
    assert recount(connection) == [Partition(), Partition()]
    assert load_half(connection) == [Deleted(), Deleted()]


def test_messages_are_counted_like_those_that_were_added(connection: psycopg.Connection[Any]) -> None:
    expected = [Partition(), Partition()]
    for clock_us in (TIME_US, TIME_US + 5):
        for draft in (Draft("a", b"x"), Draft("/unsafe/a"), Draft("b"), Draft("/unsafe/b", bytes(99))):
            [message] = store(connection, draft, clock_us=clock_us)
            unsafe = draft.topic.startswith("/unsafe/")
            expected[unsafe] = expected[unsafe].grown([(message.position, message.time_us, message.size)])
            leave_hole(connection)

    assert recount(connection) == expected
    assert is_idle(connection)


def test_a_partition_without_messages_ends_where_it_was_passed(connection: psycopg.Connection[Any]) -> None:
    connection.execute("UPDATE half SET lost = 1, lost_us = 2, passed = 3 WHERE unsafe")

    assert recount(connection) == [
        Partition(),
        Partition(head=3, head_us=2, lost=1, lost_us=2, passed=3),
    ]


# Steps


@pytest.mark.parametrize("unsafe", [False, True])
def test_a_step_deletes_the_oldest_messages_of_one_partition(connection: psycopg.Connection[Any], unsafe: bool) -> None:
    store(connection, *[Draft("a"), Draft("/unsafe/a")] * 4)
    partition = recount(connection)[unsafe]

    trimmed = trim(connection, partition, unsafe=unsafe, max_count=2)

    gone = [2, 4] if unsafe else [1, 3]
    assert left(connection) == sorted(set(range(1, 9)) - set(gone))
    assert connection.execute("SELECT count(*) FROM body").fetchall() == [(6,)]
    assert trimmed == recount(connection)[unsafe]
    assert trimmed is not None
    assert (trimmed.count, trimmed.lost, trimmed.lost_us, trimmed.passed) == (2, gone[-1], TIME_US, gone[-1] + 1)
    lost = load_half(connection)
    assert lost[unsafe] == Deleted(gone[-1], TIME_US, gone[-1] + 1)
    assert lost[not unsafe] == Deleted()


def test_steps_over_holes_end_with_nothing_left(connection: psycopg.Connection[Any]) -> None:
    for _ in range(3):
        store(connection, Draft("a"))
        leave_hole(connection, 25)
    partition: Partition | None = recount(connection)[False]
    limit = limits(max_count=0)

    while partition is not None and partition.due(limit):
        partition = trim(connection, partition, scan_length=10, max_count=0)

    assert partition is not None
    assert (partition.count, partition.size, partition.lost, partition.passed) == (0, 0, 53, 53)
    assert left(connection) == []
    assert recount(connection)[False] == replace(partition, oldest_us=0)


def test_a_step_is_limited(connection: psycopg.Connection[Any]) -> None:
    store(connection, *[Draft("a")] * (STEP_ROWS + 10))

    trim(connection, recount(connection)[False], max_count=0)

    assert len(left(connection)) == 10


def test_nothing_is_deleted_that_does_not_exceed_the_limits(connection: psycopg.Connection[Any]) -> None:
    store(connection, *[Draft("a")] * 3)
    partition = recount(connection)[False]

    assert trim(connection, partition, max_count=3) == partition
    assert left(connection) == [1, 2, 3]


@pytest.mark.parametrize(("hub", "fence"), [("hub-2", 3), (HUB, 2)])
def test_who_has_lost_the_duty_deletes_nothing(connection: psycopg.Connection[Any], hub: str, fence: int) -> None:
    store(connection, *[Draft("a")] * 3)

    assert trim(connection, recount(connection)[False], hub=hub, fence=fence, max_count=0) is None
    assert left(connection) == [1, 2, 3]
    assert load_half(connection) == [Deleted(), Deleted()]
    assert is_idle(connection)


def test_a_step_waits_for_who_takes_the_duty_over(
    connection: psycopg.Connection[Any], postgres: PostgresServer, schema: str
) -> None:
    store(connection, *[Draft("a")] * 3)
    partition = recount(connection)[False]
    outcomes = []
    with connected(postgres, schema) as other:
        thread = Thread(target=lambda: outcomes.append(trim(other, partition, max_count=0)))
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

    more = forget_keys(connection, limits(now_us=TIME_US + 2, dedup_s=0), lost=0, unsafe=False)

    assert not more
    assert keys(connection) == [3, 4]
    assert not forget_keys(connection, limits(now_us=TIME_US + 2, dedup_s=0), lost=0, unsafe=False)
    assert keys(connection) == [3, 4]


def test_keys_of_untrusted_clients_are_forgotten_with_their_messages(connection: psycopg.Connection[Any]) -> None:
    store(connection, keyed(1, topic="/unsafe/a"), keyed(2), keyed(3, topic="/unsafe/a"))

    forget_keys(connection, limits(), lost=2, unsafe=True)

    assert keys(connection) == [2, 3]


def test_keys_are_forgotten_in_steps(connection: psycopg.Connection[Any]) -> None:
    store(connection, *map(keyed, range(STEP_ROWS + 1)))
    expired = limits(now_us=TIME_US + 1, dedup_s=0)

    assert forget_keys(connection, expired, lost=0, unsafe=False)
    assert keys(connection) == [STEP_ROWS + 1]
    assert not forget_keys(connection, expired, lost=0, unsafe=False)
    assert keys(connection) == []
