"""Deletion in the log on disk, on a new file."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from hookbot.log.retention import STEP_BYTES, Partition, dense_after
from hookbot.log.sqlite_damage import count_again
from hookbot.log.sqlite_deletion import delete_step
from hookbot.log.sqlite_file import open_log_file
from hookbot.log.sqlite_queries import load_partitions
from hookbot.protocol.message import Draft
from support.sqlite_tables import TIME_US, store


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(open_log_file(tmp_path)) as file:
        yield file.writer


def counted(connection: sqlite3.Connection, head: int) -> list[Partition]:
    """The partitions, as they are counted anew."""
    partitions = [Partition(head, TIME_US), Partition(head, TIME_US)]
    return [count_again(connection, partitions, unsafe=unsafe) for unsafe in (False, True)]


def test_a_position_and_a_time_stay_of_what_is_deleted(connection: sqlite3.Connection) -> None:
    store(connection, Draft("a", b"1"), Draft("/unsafe/a", b"2"), Draft("a", b"3"))

    partitions, deletion = delete_step(connection, counted(connection, 3), [1, 2, 7])

    assert deletion == (2, [])
    rows = connection.execute("SELECT position, time_us, topic FROM log WHERE size = 0").fetchall()
    assert rows == [(1, TIME_US, ""), (2, TIME_US, "/unsafe/")]
    assert connection.execute("SELECT position FROM body").fetchall() == [(3,)]
    assert partitions == counted(connection, 3) == load_partitions(connection)
    assert [partition.count for partition in partitions] == [1, 0]
    assert dense_after(partitions) == 0


def test_a_step_deletes_no_more_than_some_bytes_or_one_message(connection: sqlite3.Connection) -> None:
    bodies = [b"x" * STEP_BYTES, b"x" * (STEP_BYTES // 2), b"x" * (STEP_BYTES // 2), b"x"]
    store(connection, *[Draft("a", body) for body in bodies])

    partitions, first = delete_step(connection, counted(connection, 4), [1, 2, 3, 4, 9])
    partitions, second = delete_step(connection, partitions, first.rest)
    partitions, third = delete_step(connection, partitions, second.rest)

    assert first == (1, [2, 3, 4, 9])
    assert second == (2, [4, 9])
    assert third == (1, [])
    assert partitions == counted(connection, 4)
