import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from hookbot.log.large_bodies import ROW_BYTES, in_row, is_apart, read_body, write_body

LARGE = b"large" * ROW_BYTES


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.execute("CREATE TABLE body (position INTEGER PRIMARY KEY, meta TEXT NOT NULL, body BLOB NOT NULL)")
        yield connection


@pytest.mark.parametrize("body", [b"", b"small", bytes(ROW_BYTES)])
def test_a_small_body_is_in_its_row(connection: sqlite3.Connection, body: bytes) -> None:
    connection.execute("INSERT INTO body VALUES (7, '', ?)", (in_row(body),))

    assert not is_apart(body)
    assert read_body(connection, 7) == body


def test_a_large_body_is_written_after_its_row(connection: sqlite3.Connection) -> None:
    connection.execute("INSERT INTO body VALUES (7, '', ?)", (in_row(LARGE),))
    write_body(connection, 7, LARGE)

    assert is_apart(LARGE)
    assert read_body(connection, 7) == LARGE
    assert connection.execute("SELECT typeof(body), body = ? FROM body", (LARGE,)).fetchall() == [("blob", 1)]


def test_a_large_body_that_was_not_committed_is_gone(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN")
    connection.execute("INSERT INTO body VALUES (7, '', ?)", (in_row(LARGE),))
    write_body(connection, 7, LARGE)
    connection.rollback()

    with pytest.raises(sqlite3.DatabaseError):
        read_body(connection, 7)
