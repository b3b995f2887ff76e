"""Parts of the PostgreSQL log by themselves, on a real server."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import trio

from hookbot.callbacks import result_of
from hookbot.log.contract import Unit
from hookbot.log.postgres_address import PostgresAddress
from hookbot.log.postgres_connections import Connections
from hookbot.log.postgres_identity import LogIdentity
from hookbot.log.postgres_writer import PostgresWriter, StoredBatch
from hookbot.protocol.message import Draft
from support.postgres import PostgresServer, new_schema

HUB = "hub-1"


def new_address(server: PostgresServer) -> PostgresAddress:
    """Address of a log that nobody has used."""
    return PostgresAddress.parse(f"{server.url}?schema={new_schema()}")


@asynccontextmanager
async def opened_connections(address: PostgresAddress) -> AsyncIterator[tuple[Connections, LogIdentity]]:
    """The connections of a hub, the first of which has opened the log."""
    identity = LogIdentity(address, HUB)
    connections = Connections(address, "hookbot test", identity)
    async with connections.watched():
        await connections.writing.open()
        yield connections, identity


@asynccontextmanager
async def opened_writer(address: PostgresAddress, hub: str = HUB) -> AsyncIterator[PostgresWriter]:
    """The writer of a hub."""
    async with opened_connections(address) as (connections, identity):
        writer = PostgresWriter(connections.writing, identity, hub, None)
        try:
            yield writer
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(writer.stop)


async def store(writer: PostgresWriter, *topics: str) -> StoredBatch:
    """The batch of an empty message on each topic, each a unit."""
    units = [Unit([Draft(topic)]) for topic in topics]
    batch: StoredBatch = await result_of(partial(writer.store_soon, units))
    return batch


def stored(server: PostgresServer, address: PostgresAddress) -> list[Any]:
    """Positions and topics of what the log has."""
    return server.execute("SELECT position, topic FROM log ORDER BY position", schema=address.schema)
