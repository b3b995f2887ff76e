"""What was lost in a failover of the PostgreSQL log: as the hubs report it, and as a reader finds it."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from hookbot.log.engine import ScanRange
from hookbot.log.postgres_failovers import (
    JUMP,
    Failover,
    Failovers,
    load_failovers,
    record_failover,
    report,
)
from hookbot.log.postgres_schema import open_schema
from hookbot.protocol.message import Draft
from support.postgres import PostgresServer, new_schema
from support.postgres_tables import LOCK_KEY, connected, store

END = JUMP + 3
LOSSLESS = Failover(END, 2, 2)
LOSSY = Failover(END, 2, 5)
OPEN = Failover(END, 2, 2, awaits_reports=True)


@pytest.fixture
def connection(postgres: PostgresServer) -> Iterator[psycopg.Connection[Any]]:
    """A log with two messages."""
    schema = new_schema()
    with connected(postgres, schema) as connection:
        open_schema(connection, schema, LOCK_KEY)
        store(connection, Draft("a"), Draft("a"))
        yield connection


def add_hub(connection: psycopg.Connection[Any], hub: str, ago_s: int) -> None:
    connection.execute(
        "INSERT INTO hub VALUES (%s, '', '', '', now(), now() - make_interval(secs => %s), 0)", (hub, ago_s)
    )


def test_the_newest_message_that_is_known_to_be_lost_is_noted(connection: psycopg.Connection[Any]) -> None:
    record_failover(connection, 0, from_copy=False)

    for told, lost_up_to in ((1, 2), (2, 2), (5, 5), (4, 5), (END - 1, 5), (END + 6, 5)):
        report(connection, "hub", told)
        assert load_failovers(connection) == Failovers((Failover(END, 2, lost_up_to),))


def test_it_is_open_whether_messages_were_lost_until_each_hub_has_reported(
    connection: psycopg.Connection[Any],
) -> None:
    add_hub(connection, "one", 100)
    add_hub(connection, "other", 103)
    # It had ended before the failover.
    add_hub(connection, "ended", 200)
    record_failover(connection, 0, from_copy=False)

    report(connection, "one", 1)
    assert load_failovers(connection) == Failovers((OPEN,))
    report(connection, "other", 2)
    assert load_failovers(connection) == Failovers((LOSSLESS,))


def test_a_hub_that_does_not_report_is_not_waited_for_for_ever(connection: psycopg.Connection[Any]) -> None:
    add_hub(connection, "dead", 0)
    record_failover(connection, 0, from_copy=False)
    assert load_failovers(connection) == Failovers((OPEN,))

    connection.execute("UPDATE failover SET until = now()")

    assert load_failovers(connection) == Failovers((LOSSLESS,))


@pytest.mark.parametrize("failover", [LOSSLESS, LOSSY, OPEN])
def test_a_position_may_be_in_a_failover(failover: Failover) -> None:
    failovers = Failovers((failover,))

    assert [bool(failovers.at(position)) for position in (1, 2, END - 2, END - 1)] == [False, True, True, False]
    assert [bool(failovers.hole_after(position)) for position in (1, 2, 3, END - 1)] == [
        False,
        failover is LOSSY,
        True,
        False,
    ]
    assert [bool(failovers.first_after(position)) for position in (1, 2, END - 2, END - 1)] == [True, True, True, False]
    assert failovers.is_open == (failover is OPEN)


def test_a_range_ends_before_lost_messages_and_not_amid_positions_that_are_left_out() -> None:
    scan = ScanRange(0, 10, 10, 0)

    assert Failovers((LOSSY,)).around(scan) == ScanRange(0, 2, 2, 0)
    assert Failovers((LOSSLESS,)).around(scan) == ScanRange(0, 10, END - 1, 0)
    assert Failovers((Failover(END + 50, 20, 20),)).around(scan) == scan
