"""The connections of the PostgreSQL log that read, each in a thread while it is used."""

from collections.abc import Callable, Sequence
from functools import partial
from queue import LifoQueue
from typing import TYPE_CHECKING, Any

import trio

from ..callbacks import T
from .postgres_connection import PostgresConnection

if TYPE_CHECKING:
    from psycopg import Connection

READERS = 2
# A message of 25 MB over a slow network.
DEADLINE_S = 30.0


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
            return connection.do(work, deadline_s=DEADLINE_S)
        finally:
            self._free.put(connection)
