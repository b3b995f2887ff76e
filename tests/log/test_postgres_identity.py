"""What the connections of a hub agree on, on a real server. `test_postgres_failover.py` has several."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from hookbot.errors import Unavailable
from hookbot.log.postgres_address import PostgresAddress
from hookbot.log.postgres_identity import LogIdentity
from support.ports import free_ports
from support.postgres import PostgresServer
from support.postgres_tables import connected


@pytest.fixture
def connection(postgres: PostgresServer, schema: str) -> Iterator[psycopg.Connection[Any]]:
    with connected(postgres, schema) as connection:
        yield connection


def identity_at(postgres: PostgresServer, schema: str, *, more_hosts: str = "") -> LogIdentity:
    url = postgres.url.replace("/hookbot", f"{more_hosts}/hookbot")
    return LogIdentity(PostgresAddress.parse(f"{url}?schema={schema}"), "hub")


def test_the_first_connection_opens_the_log_and_the_others_have_the_same(
    postgres: PostgresServer, schema: str, connection: psycopg.Connection[Any]
) -> None:
    identity = identity_at(postgres, schema)

    history = identity.check(connection)
    assert identity.check(connection) == history == identity.current()

    assert len(identity.epoch) == 8
    assert identity.checks == 2


def test_a_position_that_was_told_is_not_given_again(
    postgres: PostgresServer, schema: str, connection: psycopg.Connection[Any]
) -> None:
    identity = identity_at(postgres, schema)
    identity.check(connection)
    identity.tell(7)
    identity.tell(5)

    identity.check(connection)

    [(last,)] = connection.execute("SELECT last_value FROM pos").fetchall()
    assert last > 7


async def test_of_several_hosts_the_newest_history_counts(
    postgres: PostgresServer, schema: str, connection: psycopg.Connection[Any]
) -> None:
    [nobody] = free_ports(1)
    identity = identity_at(postgres, schema, more_hosts=f",127.0.0.1:{nobody}")

    await identity.look_around()

    [(timeline,)] = connection.execute("SELECT timeline_id FROM pg_control_checkpoint()").fetchall()
    history = identity.current()
    assert history
    assert history.timeline == timeline
    identity._history = history._replace(timeline=timeline + 1)
    with pytest.raises(Unavailable, match="old primary"):
        identity.check(connection)
