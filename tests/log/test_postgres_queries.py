"""Queries of the PostgreSQL log that read messages and cursors, on a real server."""

from random import Random
from typing import Any

import psycopg
import pytest

from hookbot.log.contract import Page, SavedCursor
from hookbot.log.engine import ScanRange
from hookbot.log.postgres_queries import (
    LOAD_PAGE,
    LOAD_ROWS,
    PROBE_POSITION,
    Rows,
    load_cursors,
    load_head,
    load_page,
    load_rows,
    load_topics,
    position_before,
    probe,
)
from hookbot.log.postgres_retention import Losses
from hookbot.log.retention import Deleted
from hookbot.protocol.message import Draft, Message, format_id
from hookbot.protocol.topics import TopicFilter
from support.messages import EPOCH
from support.postgres_tables import TIME_US, leave_hole, store

EVERYTHING = TopicFilter(("", "/unsafe/"))
PAGE = {
    "low": 9_000,
    "high": 20_000,
    "limit": 10,
    "max_bytes": 1 << 20,
    "exact": ["a"],
    "beneath": [],
    "all_safe": False,
}


def load(
    connection: psycopg.Connection[Any],
    *patterns: str,
    low: int = 0,
    high: int = 1000,
    end: int = 1000,
    limit: int = 1000,
    max_bytes: int = 1 << 20,
    newest: bool = False,
) -> tuple[list[int], int]:
    """Positions of a page, and where the next one starts."""
    wanted, scan = TopicFilter(patterns) if patterns else EVERYTHING, ScanRange(low, high, end, 0)
    page, _ = load_page(connection, EPOCH, wanted, scan, limit=limit, max_bytes=max_bytes, newest=newest)
    return positions(page.messages), page.next_after


def positions(messages: Any) -> list[int]:
    return [message.position for message in messages]


# Pages


def test_a_page_of_an_empty_log_ends_where_the_scan_does(connection: psycopg.Connection[Any]) -> None:
    assert load(connection) == ([], 1000)
    assert load(connection, newest=True, end=0) == ([], 0)


def test_messages_are_read_as_they_were_stored(connection: psycopg.Connection[Any]) -> None:
    stored = store(connection, Draft("a", b"\0", (("A", "b"),)), Draft("/unsafe/a"), Draft("b"))
    scan = ScanRange(0, 3, 3, 0)

    page, lost = load_page(connection, EPOCH, EVERYTHING, scan, limit=5, max_bytes=1 << 20, newest=False)

    assert page == Page(stored, 3)
    assert lost == {"": Deleted(), "/unsafe/": Deleted()}


TOPICS = ("a", "a/b", "a/b/c", "a0", "a_b/c", "aXb/c", "a%", "a%/b", "a\\/b", "/unsafe/a", "/unsafe/a/b", "z", "é/ü")


@pytest.mark.parametrize(
    "patterns",
    [(topic,) for topic in TOPICS]
    + [(f"{topic}/",) for topic in TOPICS]
    + [("",), ("/unsafe/",), ("a", "a/"), ("", "/unsafe/"), ("a_b/", "a%/", "z"), ("é/", "", "/unsafe/a")],
)
def test_a_page_has_the_messages_that_a_filter_selects(
    connection: psycopg.Connection[Any], patterns: tuple[str, ...]
) -> None:
    store(connection, *map(Draft, TOPICS))
    wanted = TopicFilter(patterns)

    expected = [number for number, topic in enumerate(TOPICS, start=1) if wanted.matches(topic)]

    assert load(connection, *patterns)[0] == expected
    assert load(connection, *patterns, newest=True)[0] == expected[::-1]


def test_a_page_has_only_what_is_scanned(connection: psycopg.Connection[Any]) -> None:
    store(connection, *[Draft("a")] * 9)

    assert load(connection, low=3, high=6, end=6) == ([4, 5, 6], 6)
    assert load(connection, low=3, high=6, end=4, newest=True) == ([6, 5, 4], 4)


@pytest.mark.parametrize("newest", [False, True])
def test_a_page_is_limited_in_number(connection: psycopg.Connection[Any], newest: bool) -> None:
    store(connection, *[Draft("a"), Draft("b")] * 3)

    expected = ([6, 4], 4) if newest else ([2, 4], 4)
    assert load(connection, "b", limit=2, newest=newest) == expected
    assert load(connection, "b", limit=3, newest=newest)[1] == (2 if newest else 6)
    assert load(connection, "b", limit=4, newest=newest)[1] == 1000


@pytest.mark.parametrize("newest", [False, True])
def test_a_page_is_limited_in_bytes_and_the_first_message_fits(
    connection: psycopg.Connection[Any], newest: bool
) -> None:
    first, second, third = store(connection, *[Draft("a", bytes(1000))] * 3)
    first, third = (third, first) if newest else (first, third)

    for max_bytes, fitting in ((0, [first]), (first.size, [first]), (2 * first.size, [first, second])):
        found = load(connection, max_bytes=max_bytes, newest=newest)
        assert found == (positions(fitting), fitting[-1].position)
    assert load(connection, max_bytes=3 * first.size, newest=newest) == (positions([first, second, third]), 1000)


@pytest.mark.parametrize("newest", [False, True])
def test_pages_leave_out_holes(connection: psycopg.Connection[Any], newest: bool) -> None:
    for _ in range(3):
        store(connection, Draft("a"))
        leave_hole(connection, 10)

    assert load(connection, newest=newest)[0] == ([23, 12, 1] if newest else [1, 12, 23])
    assert load(connection, low=2, high=11, end=11) == ([], 11)


def test_a_page_and_what_is_lost_are_from_the_same_moment(connection: psycopg.Connection[Any]) -> None:
    store(connection, Draft("a"), Draft("/unsafe/a"))
    connection.execute("UPDATE budget SET lost = 1, lost_us = 2, passed = 3 WHERE prefix <> ''")

    _, lost = load_page(connection, EPOCH, EVERYTHING, ScanRange(0, 2, 2, 0), limit=1, max_bytes=1, newest=False)

    assert lost == {"": Deleted(), "/unsafe/": Deleted(1, 2, 3)}
    assert connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE


def test_rows_may_end_before_the_newest_message() -> None:
    messages = [Message("a", id=format_id(EPOCH, position)) for position in (1, 2, 9)]
    rows = Rows(messages, 9, Losses([]))

    assert rows.until(5) == Rows(messages[:2], 5, Losses([]))
    assert rows.until(10) == rows


def rows_read(connection: psycopg.Connection[Any]) -> int:
    """Rows that this transaction has read of each table."""
    read = "pg_stat_get_xact_tuples_fetched(oid) + pg_stat_get_xact_tuples_returned(oid)"
    tables = "oid = ANY('{log,body}'::regclass[])"
    [(most,)] = connection.execute(f"SELECT max({read}) FROM pg_class WHERE {tables}".encode()).fetchall()
    return int(most)


def test_pages_of_a_log_without_statistics_read_only_their_own_rows(connection: psycopg.Connection[Any]) -> None:
    for table, columns in (("log", "n, n, 'a', 100"), ("body", "n, '{}', ''")):
        connection.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = false)".encode())
        connection.execute(f"INSERT INTO {table} SELECT {columns} FROM generate_series(1, 20000) n".encode())
    statements: list[tuple[str, dict[str, Any]]] = [
        (LOAD_ROWS, {"after": 10_000, "up_to": None, "limit": 10, "max_bytes": 1 << 20}),
        *((statement, PAGE) for statement in LOAD_PAGE.values()),
    ]

    # Planned for these values, and then, prepared, for any.
    for mode in "force_custom_plan", "force_generic_plan":
        connection.execute(f"SET plan_cache_mode = {mode}".encode())
        for statement, values in statements:
            with connection.transaction():
                assert len(connection.execute(statement.encode(), values, prepare=True).fetchall()) == 10
                assert rows_read(connection) <= 12


# What is new


def test_rows_are_those_after_a_position_and_the_head_is_the_newest(connection: psycopg.Connection[Any]) -> None:
    assert load_rows(connection, EPOCH, 0, None, limit=9, max_bytes=1 << 20)[:2] == ([], 0)
    stored = [*store(connection, Draft("a", b"x")), *store(connection, Draft("/unsafe/a"))]
    leave_hole(connection)
    stored += store(connection, Draft("b"))

    assert load_rows(connection, EPOCH, 0, None, limit=9, max_bytes=1 << 20)[:2] == (stored, 4)
    assert load_rows(connection, EPOCH, 0, None, limit=2, max_bytes=1 << 20)[:2] == (stored[:2], 4)
    assert load_rows(connection, EPOCH, 0, None, limit=9, max_bytes=1)[:2] == (stored[:1], 4)
    assert load_rows(connection, EPOCH, 2, None, limit=9, max_bytes=1 << 20)[:2] == (stored[2:], 4)
    assert load_rows(connection, EPOCH, 4, None, limit=9, max_bytes=1 << 20)[:2] == ([], 4)
    assert load_rows(connection, EPOCH, 7, None, limit=9, max_bytes=1 << 20)[:2] == ([], 7)


def test_the_head_is_the_newest_message_ever_stored(connection: psycopg.Connection[Any]) -> None:
    assert load_head(connection) == (0, 0)
    store(connection, Draft("a"), Draft("a"))
    leave_hole(connection)
    assert load_head(connection) == (2, TIME_US)
    connection.execute("UPDATE budget SET passed = 2, lost_us = 3")
    assert load_head(connection) == (2, TIME_US)
    connection.execute("DELETE FROM log")
    assert load_head(connection) == (2, 3)


def test_topics_are_those_of_the_newest_messages(connection: psycopg.Connection[Any]) -> None:
    assert load_topics(connection, 5) == []
    store(connection, Draft("a"), Draft("b"))
    leave_hole(connection)
    store(connection, Draft("a"))

    assert load_topics(connection, 2) == [("b", 2), ("a", 4)]
    assert load_topics(connection, 5) == [("a", 1), ("b", 2), ("a", 4)]


# Positions by time


def test_the_position_before_a_time_is_that_of_the_newest_message_that_is_older(
    connection: psycopg.Connection[Any],
) -> None:
    assert position_before(connection, time_us=TIME_US)[0] == 0
    random = Random(1)
    stored: list[Message] = []
    clock_us = TIME_US
    for _ in range(60):
        stored += store(connection, *[Draft("a")] * random.choice((1, 1, 3)), clock_us=clock_us)
        clock_us += random.choice((0, 0, 1, 5, -3))
        leave_hole(connection, random.choice((0, 0, 1, 100_000)))

    for time_us in range(TIME_US - 1, stored[-1].time_us + 3):
        older = [message.position for message in stored if message.time_us < time_us]
        assert position_before(connection, time_us=time_us)[0] == max(older, default=0)


def test_the_position_before_a_time_is_at_least_what_retention_has_passed(connection: psycopg.Connection[Any]) -> None:
    store(connection, *[Draft("a")] * 5)
    connection.execute("DELETE FROM log WHERE position <= 3")
    connection.execute("UPDATE budget SET passed = 3")

    assert position_before(connection, time_us=TIME_US)[0] == 3
    assert position_before(connection, time_us=TIME_US + 1)[0] == 5
    connection.execute("DELETE FROM log")
    assert position_before(connection, time_us=TIME_US + 1)[0] == 3


# Cursors


def test_cursors_are_found_by_the_beginning_of_their_names(connection: psycopg.Connection[Any]) -> None:
    names = ["a", "a%b", "a_b", "aXb", "b", "B", "ä", "a\\b"]
    store(connection, cursors=dict.fromkeys(names, 5))

    for prefix in ("", "a", "a%", "a_", "a\\", "ä", "B", "c"):
        found = load_cursors(connection, prefix)
        assert [cursor.name for cursor in found] == sorted(name for name in names if name.startswith(prefix))
    assert load_cursors(connection, "b") == [SavedCursor("b", 5, TIME_US, "")]


# Probe


def test_a_probe_leaves_nothing_behind(connection: psycopg.Connection[Any]) -> None:
    probe(connection)

    assert connection.execute("SELECT count(*) FROM body").fetchall() == [(0,)]
    assert connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
    assert PROBE_POSITION > 10**15 - 1


def test_a_probe_fails_where_nothing_can_be_written(connection: psycopg.Connection[Any]) -> None:
    connection.execute("SET default_transaction_read_only = on")

    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        probe(connection)
    assert connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
