"""Deletion in the PostgreSQL log, on a real server."""

from collections.abc import Sequence
from typing import Any

import psycopg
import pytest

from hookbot.log.postgres_deletion import delete_step, notification, notified
from hookbot.protocol.message import Draft
from support.postgres_tables import CHANNEL, TIME_US, store


def test_a_position_and_a_time_stay_of_what_is_deleted(connection: psycopg.Connection[Any]) -> None:
    store(connection, Draft("a", b"1"), Draft("/unsafe/a", b"2"), Draft("a", b"3"))

    assert delete_step(connection, [1, 2, 7], CHANNEL) == (2, [])
    assert delete_step(connection, [1, 2, 7], CHANNEL) == (0, [])

    rows = connection.execute("SELECT position, time_us, topic FROM log WHERE size = 0 ORDER BY position").fetchall()
    assert rows == [(1, TIME_US, ""), (2, TIME_US, "/unsafe/")]
    assert connection.execute("SELECT position FROM body").fetchall() == [(3,)]


def test_what_is_deleted_stays_in_its_budget(connection: psycopg.Connection[Any]) -> None:
    connection.execute("INSERT INTO budget SELECT prefix, 0, 0, 0, 0 FROM unnest('{a/,a/b,x}'::text[]) AS new (prefix)")
    store(connection, *map(Draft, ("a", "a/b", "a/b/c", "xy", "/unsafe/a/b")))

    delete_step(connection, [1, 2, 3, 4, 5], CHANNEL)

    rows = connection.execute("SELECT topic FROM log ORDER BY position").fetchall()
    assert rows == [("",), ("a/b",), ("a/",), ("",), ("/unsafe/",)]


def test_those_who_listen_are_told_the_positions(connection: psycopg.Connection[Any]) -> None:
    store(connection, Draft("a"), Draft("a"))
    connection.execute(f"LISTEN {CHANNEL}")

    delete_step(connection, [1, 2], CHANNEL)

    assert [notify.payload for notify in connection.notifies(timeout=10, stop_after=1)] == ["deleted 1,2"]


def test_many_long_positions_are_left_out_of_what_is_told() -> None:
    positions = range(10**14, 10**14 + 500)

    assert notification(positions[:400]) == f"deleted {','.join(map(str, positions[:400]))}"
    assert notification(positions) == "deleted"


@pytest.mark.parametrize(("payload", "positions"), [("deleted 1,22,3", [1, 22, 3]), ("deleted", None)])
def test_who_hears_of_a_deletion_knows_the_positions(payload: str, positions: Sequence[int] | None) -> None:
    assert notified(payload.split()[1:]) == positions
