"""Fixtures of the contract: a log of every engine. A new engine is a new parameter of `open_log`."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from functools import partial
from pathlib import Path
from secrets import token_hex
from typing import Any

import psycopg
import pytest

from hookbot.log.contract import Log
from hookbot.log.duties import TRIM
from hookbot.log.memory import MemoryLog
from hookbot.log.postgres import open_postgres_log
from hookbot.log.postgres_address import PostgresAddress
from hookbot.log.postgres_duty_queries import OwnHub
from hookbot.log.postgres_schema import open_schema
from hookbot.log.sealing import Sealing
from hookbot.log.sqlite import open_sqlite_log
from support.clock import Clock
from support.postgres import PostgresServer, new_schema
from support.postgres_tables import LOCK_KEY, connected


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["memory", "sqlite", "sealed", "postgres"])
def open_log(
    request: pytest.FixtureRequest, tmp_path: Path, clock: Clock
) -> Callable[..., AbstractAsyncContextManager[Log]]:
    if request.param == "memory":
        return lambda **options: nullcontext(MemoryLog(clock_us=clock, **options))
    if request.param == "sqlite":
        return partial(open_sqlite_log, tmp_path, clock_us=clock)
    if request.param == "sealed":
        return partial(open_sqlite_log, tmp_path, clock_us=clock, sealing=Sealing([bytes(32)]))
    server: PostgresServer = request.getfixturevalue("postgres")
    address = PostgresAddress.parse(f"{server.url}?schema={new_schema()}")
    return partial(_open_postgres_log, address, clock)


@asynccontextmanager
async def _open_postgres_log(address: PostgresAddress, clock: Clock, **options: Any) -> AsyncIterator[Log]:
    async with open_postgres_log(address, OwnHub(token_hex(8), "", "0", ""), clock_us=clock, **options) as log:
        await log.duties.claim(TRIM)
        yield log


@pytest.fixture
async def log(open_log: Callable[..., AbstractAsyncContextManager[Log]]) -> AsyncIterator[Log]:
    async with open_log() as log:
        yield log


@pytest.fixture
def schema() -> str:
    """Name of a schema in PostgreSQL that nobody has used."""
    return new_schema()


@pytest.fixture
def connection(postgres: PostgresServer, schema: str) -> Iterator[psycopg.Connection[Any]]:
    """Connection to the tables of a log in PostgreSQL."""
    with connected(postgres, schema) as connection:
        open_schema(connection, schema, LOCK_KEY)
        yield connection
