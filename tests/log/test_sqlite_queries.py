"""The queries of the log on disk, each by itself, on a new file."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from hookbot.log import sqlite_queries as queries
from hookbot.log.contract import Noted, Page, SavedCursor
from hookbot.log.engine import ScanRange
from hookbot.log.large_bodies import ROW_BYTES
from hookbot.log.sqlite_file import open_log_file
from hookbot.log.sqlite_rows import ROWS_AT_ONCE
from hookbot.protocol.message import Draft, Verified
from hookbot.protocol.topics import TopicFilter
from support.sqlite_tables import EPOCH, TIME_US, store

EVERYTHING = TopicFilter(("", "/unsafe/"))


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(open_log_file(tmp_path)) as file:
        yield file.writer


def load(
    connection: sqlite3.Connection,
    wanted: TopicFilter = EVERYTHING,
    scan: ScanRange = ScanRange(0, 1000, 1000, 1000),  # noqa: B008 - immutable
    *,
    limit: int = 1000,
    max_bytes: int = 1 << 20,
    newest: bool = False,
) -> Page:
    return queries.load_page(connection, EPOCH, wanted, scan, limit=limit, max_bytes=max_bytes, newest=newest)


def positions(page: Page) -> list[int]:
    return [message.position for message in page.messages]


# Transactions


def test_a_transaction_that_fails_leaves_nothing_behind(connection: sqlite3.Connection) -> None:
    def fail() -> None:
        with queries.transaction(connection):
            store(connection, Draft("a"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()

    assert positions(load(connection)) == []
    assert not connection.in_transaction


def test_a_transaction_that_succeeds_is_seen_by_others(connection: sqlite3.Connection, tmp_path: Path) -> None:
    with queries.transaction(connection):
        store(connection, Draft("a"))

    with closing(sqlite3.connect(tmp_path / "hookbot.sqlite3")) as other:
        assert queries.load_topics(other, ScanRange(0, 1, 1, 0)) == [("a", 1)]


# State


def test_a_new_log_has_a_name(connection: sqlite3.Connection) -> None:
    assert len(queries.load_epoch(connection)) == 8


@pytest.mark.parametrize("epoch", ["", "abcdefg!", b"abcdefgh"])
def test_a_garbled_epoch_is_an_error(connection: sqlite3.Connection, epoch: str) -> None:
    connection.execute("UPDATE identity SET epoch = ?", (epoch,))

    with pytest.raises(ValueError, match="garbled"):
        queries.load_epoch(connection)


@pytest.mark.parametrize("newest", [False, True])
def test_messages_that_must_be_there_and_are_not_are_an_error(connection: sqlite3.Connection, newest: bool) -> None:
    store(connection, *[Draft("a")] * 5)
    connection.execute("DELETE FROM log WHERE position = 3")

    for low, dense in ((0, 0), (2, 0), (0, 2)):
        with pytest.raises(ValueError, match="missing"):
            load(connection, scan=ScanRange(low, 5, 5, dense), newest=newest)
    for low, high, dense in ((3, 5, 0), (0, 2, 0), (0, 5, 3)):
        load(connection, scan=ScanRange(low, high, high, dense), newest=newest)


def test_cursors_are_saved_replaced_found_by_prefix_and_deleted(connection: sqlite3.Connection) -> None:
    queries.save_cursors(connection, {"b/1": Noted(1), "a/2": Noted(2), "a/1": Noted(3), "a": Noted(4)}, TIME_US)
    queries.save_cursors(connection, {"a/2": Noted(5), "a/1": None}, TIME_US + 1)

    assert queries.load_cursors(connection, "a/") == [SavedCursor("a/2", 5, TIME_US + 1)]
    assert [cursor.name for cursor in queries.load_cursors(connection, "")] == ["a", "a/2", "b/1"]


# Messages


def test_a_message_is_loaded_as_it_was_stored(connection: sqlite3.Connection) -> None:
    drafts = [
        Draft("a", b""),
        Draft("a", b"\x00\xff", (("X", "\xe9"), ("x", "2")), "q=1", Verified("github", "0"), ("one", "two")),
        Draft("a", b"x" * 100_000, verified=Verified("stripe", "1", 1.5, "/unsafe/stripe/")),
    ]

    stored = store(connection, *drafts)

    assert list(load(connection).messages) == stored


def test_more_rows_than_one_statement_takes_are_all_stored(connection: sqlite3.Connection) -> None:
    count = 2 * ROWS_AT_ONCE + 3

    stored = store(connection, *[Draft("a", b"%d" % number) for number in range(count)])

    assert list(load(connection).messages) == stored


@pytest.mark.parametrize(
    ("patterns", "found"),
    [
        (("a",), [1]),
        (("a/",), [2, 3]),
        (("",), [1, 2, 3, 4]),
        (("/unsafe/",), [5]),
        (("a", "/unsafe/a"), [1, 5]),
        (("a/b", "b"), [2, 4]),
        (("c",), []),
    ],
)
def test_a_page_has_what_the_filter_selects(
    connection: sqlite3.Connection, patterns: tuple[str, ...], found: list[int]
) -> None:
    store(connection, *map(Draft, ("a", "a/b", "a/b/c", "b", "/unsafe/a")))

    page = load(connection, TopicFilter(patterns))

    assert positions(page) == found
    assert page.next_after == 1000


@pytest.mark.parametrize(
    ("limit", "max_bytes", "newest", "found", "next_after"),
    [
        (2, 1 << 20, False, [2, 3], 3),
        (2, 1 << 20, True, [5, 4], 4),
        (9, 2 * Draft("a", b"12345").size, False, [2, 3], 3),
        (9, 1, False, [2], 2),
        (9, 1, True, [5], 5),
        (9, 1 << 20, False, [2, 3, 4, 5], 77),
        (9, 1 << 20, True, [5, 4, 3, 2], 77),
    ],
)
def test_a_page_ends_at_its_limits_and_says_where_the_next_begins(
    connection: sqlite3.Connection, limit: int, max_bytes: int, newest: bool, found: list[int], next_after: int
) -> None:
    store(connection, *[Draft("a", b"12345")] * 6)

    page = load(connection, scan=ScanRange(1, 5, 77, 5), limit=limit, max_bytes=max_bytes, newest=newest)

    assert (positions(page), page.next_after) == (found, next_after)


def test_large_and_small_bodies_are_read_as_they_were_stored(connection: sqlite3.Connection) -> None:
    bodies = [b"small", b"large" * 20_000, b"", bytes(ROW_BYTES), bytes(ROW_BYTES + 1)]

    stored = store(connection, *[Draft("a", body) for body in bodies])

    assert [message.body for message in stored] == bodies
    assert load(connection).messages == stored


def test_a_large_body_is_not_put_into_a_row(connection: sqlite3.Connection) -> None:
    statements: list[str] = []
    connection.set_trace_callback(statements.append)

    store(connection, Draft("a", bytes(ROW_BYTES + 1)))

    assert max(map(len, statements)) < 1000


@pytest.mark.parametrize("newest", [False, True])
def test_a_message_larger_than_a_page_is_read_without_a_copy_of_its_body_in_sqlite(
    connection: sqlite3.Connection, newest: bool
) -> None:
    large = store(connection, Draft("a", bytes(100_000)))[0]
    # SQLite refuses to put a larger value into a row.
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 50_000)

    page = load(connection, max_bytes=20_000, newest=newest)

    assert page.messages == [large]
    assert page.next_after == 1000
