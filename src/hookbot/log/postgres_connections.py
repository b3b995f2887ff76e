"""The connections of one hub to the PostgreSQL log, each of which replaces itself."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from queue import LifoQueue
from typing import TYPE_CHECKING, Any

import trio

from ..callbacks import T
from ..errors import Unavailable
from ..threads import hub_threads
from .postgres_address import PostgresAddress
from .postgres_connection import WATCH_S, Broken, PostgresConnection
from .postgres_identity import LogIdentity
from .postgres_listener import PostgresListener

if TYPE_CHECKING:
    from psycopg import Connection

READERS = 2
# For a message of 25 MB over a slow network.
READ_S = 30.0


class Connections:
    """The connections of one hub: two that write, one that listens, and a few that read."""

    def __init__(self, address: PostgresAddress, name: str, identity: LogIdentity) -> None:
        self.writing, self.duties, *self.reading = [
            PostgresConnection(address, name, identity.check, identity.current) for _ in range(2 + READERS)
        ]
        self.listener = PostgresListener(address, name, identity.check, identity.current)

    async def listen(self) -> None:
        """Listen to what other hubs notify. Raises `Unavailable` if nothing of that arrives."""
        await self.listener.open()
        if not await self.listener.hears(self.duties.run):
            raise Unavailable(
                "notifications of the server do not arrive: a proxy that gives a client another session for each "
                "transaction is in between; connect the hub directly, or by a pool of whole sessions"
            )

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Have nothing hang on a connection beyond its deadline, until the block ends; then close all of them."""
        async with trio.open_nursery() as nursery:
            watching = trio.CancelScope(shield=True)
            nursery.start_soon(self._watch, watching)
            try:
                yield
            finally:
                with trio.CancelScope(shield=True):
                    await trio.to_thread.run_sync(self._close, limiter=hub_threads())
                watching.cancel()

    async def _watch(self, scope: trio.CancelScope) -> None:
        with scope:
            while True:
                await trio.sleep(WATCH_S)
                for connection in (self.writing, *self.reading):
                    connection.abort_if_overdue()

    def _close(self) -> None:
        for connection in (self.writing, self.duties, *self.reading):
            connection.close()
        self.listener.close()


class PostgresReaders:
    """A few connections, of which each work gets one as soon as one is free."""

    def __init__(self, connections: Sequence[PostgresConnection]) -> None:
        # The one that was used last has prepared what is asked next.
        self._free: LifoQueue[PostgresConnection] = LifoQueue()
        for connection in connections:
            self._free.put(connection)
        # A task waits for a connection here, without occupying one of Trio's threads.
        self._may_read = trio.CapacityLimiter(len(connections))

    async def do(self, work: "Callable[[Connection[Any]], T]") -> T:
        """Result of work that only reads. Raises `Unavailable`."""
        return await trio.to_thread.run_sync(partial(self._do, work), limiter=self._may_read)

    def _do(self, work: "Callable[[Connection[Any]], T]") -> T:
        connection = self._free.get()
        try:
            return connection.do(work, deadline_s=READ_S)
        except Broken:
            # It was idle, and may have been lost long before: a new one is worth a try.
            return connection.do(work, deadline_s=READ_S)
        finally:
            self._free.put(connection)
