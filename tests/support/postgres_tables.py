"""The tables of the PostgreSQL log, in a schema of its own for each test, filled by its own queries."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from uuid import UUID, uuid4

import psycopg
from psycopg import sql

from hookbot.log.batch import Batch
from hookbot.log.contract import NewPosition, Unit
from hookbot.log.postgres_batch import PLANNER, begin_batch, finish_batch
from hookbot.protocol.message import Draft, Message
from support.messages import EPOCH
from support.postgres import PostgresServer

LOCK_KEY = 7
HUB = "hub-1"
CHANNEL = "hookbot_test"
TIME_US = 1_700_000_000_000_000


@contextmanager
def connected(postgres: PostgresServer, schema: str) -> Iterator[psycopg.Connection[Any]]:
    """Connection as the log makes it."""
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute(sql.SQL("SET search_path TO {}, pg_temp").format(sql.Identifier(schema)))
        for name, value in (PLANNER | {"jit": "off", "lock_timeout": "10s"}).items():
            connection.execute(f"SET {name} = '{value}'".encode())
        yield connection


def store(
    connection: psycopg.Connection[Any],
    *drafts: Draft,
    cursors: Mapping[str, NewPosition] = {},
    clock_us: int | None = TIME_US,
    lock_key: int = LOCK_KEY,
    token: UUID | None = None,
    replaces: UUID | None = None,
) -> list[Message]:
    """The messages that a batch has stored."""
    unit = Unit(drafts, cursors)
    start = begin_batch(connection, lock_key, [unit], HUB, clock_us)
    batch = Batch(EPOCH, start.position, max(start.now_us, start.time_us), start.known)
    batch.add_unit(unit)
    finish_batch(connection, batch, HUB, token or uuid4(), CHANNEL, replaces=replaces)
    return batch.messages


def leave_hole(connection: psycopg.Connection[Any], positions: int = 1) -> None:
    """Positions that no message has, as a batch leaves them that was rolled back."""
    connection.execute("SELECT setval('pos', last_value + %s) FROM pos", (positions,))
