"""Batches of the PostgreSQL log, on a real server."""

from contextlib import ExitStack
from threading import Thread
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import errors

from hookbot.log import postgres_batch
from hookbot.log.batch import Batch
from hookbot.log.contract import Move, NewPosition, Noted, Unit
from hookbot.log.deduplication import FirstUse, digest
from hookbot.log.duties import Held
from hookbot.log.postgres_batch import FIND_KEYS, BatchStart, begin_batch, find_token, finish_batch
from hookbot.log.postgres_queries import load_cursors, load_rows
from hookbot.protocol.message import Draft, Message, Once, Verified
from support.messages import EPOCH
from support.postgres import PostgresServer
from support.postgres_tables import CHANNEL, HUB, LOCK_KEY, TIME_US, connected, leave_hole, store

DAY_US = 86400 * 1_000_000
ONCE = Once("idempotency", "a", "key", exclusive=True, fingerprint=b"\0f")


def everything(connection: psycopg.Connection[Any]) -> list[Message]:
    return list(load_rows(connection, EPOCH, 0, None, limit=10_000, max_bytes=1 << 40).messages)


def is_idle(connection: psycopg.Connection[Any]) -> bool:
    return connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE


def test_a_batch_begins_with_what_is_stored(connection: psycopg.Connection[Any]) -> None:
    duties = [("a", HUB, 5), ("b", HUB, 6), ("c", "another", 7)]
    connection.cursor().executemany("INSERT INTO duty VALUES (%s, %s, %s, now())", duties)
    store(connection, Draft("/unsafe/a", once=(ONCE,)), cursors={"one": 3, "two": Noted(4, "x")})

    moves: dict[str, NewPosition] = {"one": Move(0, 1), "two": 5, "none": Move(0, 1)}
    units = [Unit([Draft("a", once=(ONCE,))], moves, Held("a", 1)), Unit(duty=Held("c", 7))]
    start = begin_batch(connection, LOCK_KEY, units, HUB, 17)
    connection.rollback()

    known = {digest(ONCE): FirstUse(1, TIME_US, True, b"\0f")}
    assert start == BatchStart(1, TIME_US, 17, known, {"one": 3}, {"a": 5})


def test_a_batch_that_asks_for_nothing_begins_with_the_state(connection: psycopg.Connection[Any]) -> None:
    start = begin_batch(connection, LOCK_KEY, [], HUB, 17)
    connection.rollback()

    assert start == BatchStart(0, 0, 17, {}, {}, {})


def test_the_time_is_that_of_the_server(connection: psycopg.Connection[Any]) -> None:
    [(before,)] = connection.execute("SELECT extract(epoch FROM clock_timestamp())").fetchall()
    start = begin_batch(connection, LOCK_KEY, [], HUB)
    connection.rollback()
    [(after,)] = connection.execute("SELECT extract(epoch FROM clock_timestamp())").fetchall()

    assert before * 1_000_000 <= start.now_us <= after * 1_000_000


MESSAGES = [
    Draft("a", b"\0\xff", (("X-NUL", "\0"), ("X-Lone", "\ud800"), ("X-Line", "\u2028\n"), ("X-Latin", "\xe9\x80"))),
    Draft("a", query="\udc00=\0&\u2028"),
    Draft("b", b"", (), "", Verified("github", "\0", 1.5, "/unsafe/acme"), ("github",)),
    Draft("ü/\u20ac"),
]


@pytest.mark.parametrize("batches", [1, 8])
def test_messages_are_read_as_they_were_stored(connection: psycopg.Connection[Any], batches: int) -> None:
    stored = [message for _ in range(batches) for message in store(connection, *MESSAGES)]

    assert everything(connection) == stored
    assert [message.position for message in stored] == list(range(1, 4 * batches + 1))


def test_one_batch_has_room_for_two_bodies_of_the_largest_size(connection: psycopg.Connection[Any]) -> None:
    bodies = [bytes([number]) * (25 << 20) for number in (1, 2)]

    store(connection, *[Draft("a", body) for body in bodies])

    assert [message.body for message in everything(connection)] == bodies


def test_positions_continue_after_a_hole_and_times_never_decrease(connection: psycopg.Connection[Any]) -> None:
    store(connection, Draft("a"))
    leave_hole(connection, 10)
    [message] = store(connection, Draft("a"), clock_us=TIME_US - 1)

    assert (message.position, message.time_us) == (12, TIME_US)


def test_what_is_rolled_back_is_not_stored_and_may_leave_a_hole(connection: psycopg.Connection[Any]) -> None:
    start = begin_batch(connection, LOCK_KEY, [], HUB, TIME_US)
    batch = Batch(EPOCH, start.position, TIME_US, {})
    batch.add_unit(Unit([Draft("a")], {"one": 1}))
    batch.stored *= 2

    with pytest.raises(errors.UniqueViolation):
        finish_batch(connection, batch, HUB, uuid4(), CHANNEL)

    assert is_idle(connection)
    assert everything(connection) == []
    assert load_cursors(connection, "") == []
    [message] = store(connection, Draft("a"))
    assert message.position in (1, 2)


def test_cursors_are_saved_and_deleted(connection: psycopg.Connection[Any]) -> None:
    store(connection, cursors={"one": 1, "two": Noted(2, "note"), "three": 3})
    store(connection, Draft("a"), cursors={"two": 4, "three": None, "four": None}, clock_us=TIME_US + 1)

    saved = [(cursor.name, cursor.position, cursor.updated_us, cursor.note) for cursor in load_cursors(connection, "")]
    assert saved == [("one", 1, TIME_US, ""), ("two", 4, TIME_US + 1, "")]


def test_those_who_listen_are_notified_of_messages_after_their_commit(
    connection: psycopg.Connection[Any], postgres: PostgresServer, schema: str
) -> None:
    with connected(postgres, schema) as other:
        other.execute(f"LISTEN {CHANNEL}".encode())
        store(connection, cursors={"one": 1})
        assert list(other.notifies(timeout=0)) == []
        store(connection, Draft("a"))

        [told] = other.notifies(timeout=10, stop_after=1)
        assert (told.channel, told.payload) == (CHANNEL, f"news {HUB} 1")
        assert len(everything(other)) == 1


def test_a_batch_that_is_stored_is_no_failure_if_nobody_can_be_notified(connection: psycopg.Connection[Any]) -> None:
    start = begin_batch(connection, LOCK_KEY, [], HUB, TIME_US)
    batch = Batch(EPOCH, start.position, TIME_US, {})
    batch.add(Draft("a"))

    finish_batch(connection, batch, HUB, uuid4(), "too long" * 100)

    assert is_idle(connection)
    assert len(everything(connection)) == 1


def test_a_batch_without_anything_to_store_ends_the_transaction(connection: psycopg.Connection[Any]) -> None:
    store(connection)

    assert is_idle(connection)
    assert connection.execute("SELECT count(*) FROM writer").fetchall() == [(0,)]


def test_the_token_of_the_last_batch_that_is_stored_is_found(connection: psycopg.Connection[Any]) -> None:
    first, second = uuid4(), uuid4()
    store(connection, Draft("a"), token=first)
    assert find_token(connection, LOCK_KEY, first)
    assert not find_token(connection, LOCK_KEY, second)

    store(connection, Draft("a"), token=second, replaces=first)
    assert not find_token(connection, LOCK_KEY, first)
    assert find_token(connection, LOCK_KEY, second)
    assert is_idle(connection)


def test_the_first_batch_of_a_hub_forgets_what_hubs_have_left_behind_the_day_before(
    connection: psycopg.Connection[Any],
) -> None:
    old, recent, own = uuid4(), uuid4(), uuid4()
    store(connection, Draft("a"), token=old, clock_us=TIME_US)
    store(connection, Draft("a"), token=recent, clock_us=TIME_US + DAY_US)
    store(connection, Draft("a"), token=own, clock_us=TIME_US + DAY_US + 1)

    assert [find_token(connection, LOCK_KEY, token) for token in (old, recent, own)] == [False, True, True]


def test_a_token_is_looked_up_when_the_batch_before_it_has_ended(
    connection: psycopg.Connection[Any], postgres: PostgresServer, schema: str
) -> None:
    token = uuid4()
    start = begin_batch(connection, LOCK_KEY, [], HUB, TIME_US)
    batch = Batch(EPOCH, start.position, TIME_US, {})
    batch.add(Draft("a"))
    found = []
    with connected(postgres, schema) as other:
        thread = Thread(target=lambda: found.append(find_token(other, LOCK_KEY, token)))
        thread.start()
        _wait_for_lock(postgres, schema, other)
        finish_batch(connection, batch, HUB, token, CHANNEL)
        thread.join()

    assert found == [True]


def test_two_hubs_take_turns(connection: psycopg.Connection[Any], postgres: PostgresServer, schema: str) -> None:
    seen: list[int] = []

    def write() -> None:
        with connected(postgres, schema) as other:
            for _ in range(50):
                seen.extend(message.position for message in store(other, Draft("a"), Draft("b")))

    threads = [Thread(target=write) for _ in range(2)]
    for thread in threads:
        thread.start()
    # Positions become visible in order: whoever reads after the newest one it has seen misses none.
    found: list[int] = []
    while len(found) < 200:
        messages, head, _ = load_rows(connection, EPOCH, found[-1] if found else 0, None, limit=1000, max_bytes=1 << 30)
        found += [message.position for message in messages]
        assert head == (found[-1] if found else 0)
    for thread in threads:
        thread.join()

    assert found == sorted(seen) == list(range(1, 201))


def test_a_batch_does_not_begin_while_another_hub_has_the_lock(
    connection: psycopg.Connection[Any], postgres: PostgresServer, schema: str
) -> None:
    begin_batch(connection, LOCK_KEY, [], HUB)
    with connected(postgres, schema) as other:
        other.execute("SET lock_timeout = '10ms'")
        with pytest.raises(errors.LockNotAvailable):
            begin_batch(other, LOCK_KEY, [], HUB)
        assert is_idle(other)
    # Its hub may still finish it.
    connection.execute("COMMIT")


@pytest.mark.parametrize("amid_a_trip", [False, True])
def test_a_hub_that_keeps_the_lock_in_silence_loses_it(
    connection: psycopg.Connection[Any],
    postgres: PostgresServer,
    schema: str,
    amid_a_trip: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(postgres_batch, "SILENT_S", 0)
    connection.execute("SET application_name = 'hookbot 1'")
    begin_batch(connection, LOCK_KEY, [], HUB)
    with connected(postgres, schema) as other, ExitStack() as trip:
        if amid_a_trip:
            trip.enter_context(pytest.raises(psycopg.OperationalError))
            trip.enter_context(connection.pipeline())
            connection.execute("SELECT 1").fetchone()
        other.execute("SET lock_timeout = '10ms'")
        with pytest.raises(errors.LockNotAvailable):
            begin_batch(other, LOCK_KEY, [], HUB)
        other.execute("SET lock_timeout = '10s'")
        assert not find_token(other, LOCK_KEY, uuid4())

    with pytest.raises(psycopg.OperationalError):
        connection.execute("SELECT 1")


def test_a_connection_that_is_lost_is_told_by_its_own_error(
    connection: psycopg.Connection[Any], postgres: PostgresServer
) -> None:
    postgres.execute("SELECT pg_terminate_backend(%s, 10000)", connection.info.backend_pid)

    with pytest.raises(psycopg.OperationalError, match=r"terminat|server closed"):
        begin_batch(connection, LOCK_KEY, [], HUB)
    assert connection.broken


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
def test_keys_are_looked_up_by_their_index_in_a_table_without_statistics(
    connection: psycopg.Connection[Any], mode: str
) -> None:
    connection.execute("ALTER TABLE once SET (autovacuum_enabled = false)")
    connection.execute(
        "INSERT INTO once SELECT decode(md5(n::text), 'hex'), n, n, false, '' FROM generate_series(1, 20000) n"
    )
    connection.execute(f"SET plan_cache_mode = {mode}".encode())
    connection.execute(f"PREPARE find (bytea[]) AS {FIND_KEYS.replace('%b', '$1')}".encode())

    plan = connection.execute("EXPLAIN EXECUTE find (array_fill('x'::bytea, '{500}'))").fetchall()

    assert "Index Scan" in str(plan)


def _wait_for_lock(postgres: PostgresServer, schema: str, other: psycopg.Connection[Any]) -> None:
    pid = other.info.backend_pid
    while not postgres.execute("SELECT 1 FROM pg_locks WHERE pid = %s AND NOT granted", pid):
        pass
