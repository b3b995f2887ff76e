"""Hubs of a family that share a PostgreSQL, as far as their duties are concerned."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count
from typing import Any, TypeVar

import psycopg
import trio

from hookbot.errors import Unavailable
from hookbot.log.postgres_duties import PostgresDuties
from hookbot.log.postgres_duty_queries import OwnHub
from support.postgres import PostgresServer

TABLES = """
    CREATE TABLE duty (
        name text COLLATE "C" PRIMARY KEY, hub text NOT NULL, fence bigint NOT NULL, until timestamptz NOT NULL
    );
    CREATE TABLE hub (
        id text PRIMARY KEY, url text NOT NULL, version text NOT NULL, configuration text NOT NULL,
        started timestamptz NOT NULL, until timestamptz NOT NULL, told bigint NOT NULL,
        replying text NOT NULL DEFAULT '[]'
    );
"""
SAME = '{"key": "same"}'
_SCHEMAS = count(1)

T = TypeVar("T")


class Family:
    """The tables of a family of hubs, in a schema of its own."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self._schema = f"duties_{next(_SCHEMAS)}"
        server.execute(f"CREATE SCHEMA {self._schema}")
        with self.connect() as connection:
            connection.execute(TABLES)

    def connect(self) -> "psycopg.Connection[Any]":
        return psycopg.connect(self._server.url, autocommit=True, options=f"-c search_path={self._schema}")

    def execute(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Rows of a statement, committed."""
        with self.connect() as connection:
            cursor = connection.execute(statement.encode(), values or None)
            return cursor.fetchall() if cursor.description else []

    def end_all(self) -> None:
        """Let the time of all duties be over, as if no hub had renewed them."""
        self.execute("UPDATE duty SET until = clock_timestamp() - interval '1 second'")

    @asynccontextmanager
    async def hub(self, id: str = "here", *, url: str = "", configuration: str = SAME) -> AsyncIterator["DutyHub"]:
        """A hub until the block ends."""
        with self.connect() as connection, self.connect() as listening:
            listening.execute(f"LISTEN {self._schema}")
            hub = DutyHub(PlainConnection(connection), OwnHub(id, url, "1.0", configuration), self._schema)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(hub.listen, listening)
                await nursery.start(hub.duties.run)
                yield hub
                nursery.cancel_scope.cancel()


class DutyHub:
    """The duties of one hub."""

    def __init__(self, connection: "PlainConnection", own: OwnHub, channel: str) -> None:
        self.told = 0
        self.duties = PostgresDuties(connection, own, lambda: self.told, channel=channel, lock_key=1)
        self._connection = connection

    def die(self) -> None:
        """Let it not reach the server any more."""
        self._connection.close()

    async def listen(self, connection: "psycopg.Connection[Any]") -> None:
        while True:
            await trio.lowlevel.wait_readable(connection.fileno())
            for _ in connection.notifies(timeout=0):
                self.duties.look()


class PlainConnection:
    """A connection that is not replaced when it is broken."""

    def __init__(self, connection: "psycopg.Connection[Any]") -> None:
        self._connection = connection

    async def run(self, work: "Callable[[psycopg.Connection[Any]], T]", *, deadline_s: float) -> T:
        return await trio.to_thread.run_sync(self._do, work)

    def _do(self, work: "Callable[[psycopg.Connection[Any]], T]") -> T:
        try:
            return work(self._connection)
        except psycopg.OperationalError as error:
            raise Unavailable(str(error)) from error

    def close(self) -> None:
        self._connection.close()
