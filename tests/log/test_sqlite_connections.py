"""The connections to the file of a log: their errors, the reserve, and the file that is gone."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
import trio

from hookbot.errors import Damaged, Unavailable
from hookbot.log.disk_reserve import FILE as RESERVE
from hookbot.log.sqlite_connections import Connections
from hookbot.log.sqlite_file import FILE, open_log_file
from hookbot.log.writer_thread import WriterThread


@pytest.fixture
async def connections(tmp_path: Path) -> AsyncIterator[Connections]:
    with closing(open_log_file(tmp_path)) as file:
        thread = WriterThread(trio.lowlevel.current_trio_token())
        yield Connections(file, thread)
        thread.stop()


def head(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT max(head) FROM budget").fetchone()[0])


def garbled(_: sqlite3.Connection) -> None:
    raise ValueError("garbled")


async def test_work_is_done_on_a_connection_of_its_kind(connections: Connections) -> None:
    await connections.store(lambda writer: writer.execute("UPDATE budget SET head = 1"))
    await connections.free(lambda writer: writer.execute("UPDATE budget SET head = head + 1"))

    assert await connections.read(head) == 2
    with pytest.raises(Unavailable, match="cannot read its log: attempt to write a readonly database"):
        await connections.read(lambda reader: reader.execute("UPDATE budget SET head = 1"))


async def test_work_that_meets_garbled_values_says_so_and_the_next_goes_on(connections: Connections) -> None:
    for run in connections.store, connections.free, connections.read:
        with pytest.raises(Damaged, match="its log: garbled"):
            await run(garbled)
    assert await connections.read(head) == 0


async def test_work_that_frees_space_is_repeated_without_the_reserve(connections: Connections, tmp_path: Path) -> None:
    reserve = tmp_path / RESERVE
    held: list[bool] = []

    def fail_once(_: sqlite3.Connection) -> None:
        held.append(reserve.exists())
        if len(held) == 1:
            raise sqlite3.OperationalError("database or disk is full")

    await connections.free(fail_once)
    assert held == [True, False]

    await connections.give_back()
    assert reserve.exists()


async def test_nothing_is_done_on_a_file_that_is_gone_but_reading(connections: Connections, tmp_path: Path) -> None:
    (tmp_path / FILE).unlink()

    for run in connections.store, connections.free:
        with pytest.raises(Unavailable, match="deleted or replaced"):
            await run(head)
    assert await connections.read(head) == 0
