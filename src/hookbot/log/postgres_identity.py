"""Identity of a log, on which all connections of a hub agree, also that its server is not an old primary."""

import logging
from contextlib import suppress
from threading import Lock
from typing import TYPE_CHECKING, Any

import trio

from ..errors import ConfigError, Unavailable
from .postgres_address import PostgresAddress
from .postgres_connection import PostgresConnection
from .postgres_failovers import History, report
from .postgres_schema import check_identity, load_history, open_schema, require_finished
from .postgres_server import Server, require_privileges

if TYPE_CHECKING:
    from psycopg import Connection

# An old primary that hung, or was cut off, still has connections: a hub notices nothing on them.
LOOK_S = 10.0

logger = logging.getLogger(__package__)


class LogIdentity:
    """Epoch of the log, and newest history in which its server was seen; both are known after the first connection.

    Only `for_copy`, it may be a copy that is not finished.
    """

    def __init__(self, address: PostgresAddress, hub: str, *, for_copy: bool = False) -> None:
        self.address = address
        self._hub = hub
        self._for_copy = for_copy
        self.epoch = ""
        self.checks = 0
        """Number of connections that were checked: before each, there may have been a failover."""
        self.told = 0
        """Newest position that this hub has answered or told anybody."""
        self._history: History | None = None
        # Connections are checked in different threads.
        self._guard = Lock()

    async def look_around(self) -> None:
        """Look at all hosts that can be reached, so that an old primary is not taken if the new one is there, too."""
        hosts = self.address.hosts
        if len(hosts) > 1:
            async with trio.open_nursery() as nursery:
                for number in range(len(hosts)):
                    nursery.start_soon(self._look_at, number)

    async def keep_looking(self) -> None:
        """Look at all hosts again and again, until cancelled."""
        while True:
            await trio.sleep(LOOK_S)
            await self.look_around()

    def current(self) -> History | None:
        """The newest history in which the server was seen."""
        return self._history

    def check(self, connection: "Connection[Any]") -> History:
        """Open the log on the first connection, and check each later one: the history of its server.

        Raises `Unavailable` or `ConfigError`.
        """
        schema, key = self.address.schema, self.address.lock_key
        if not self.epoch:
            server = Server.read(connection)
            server.require()
            require_privileges(connection, self.address)
            epoch = open_schema(connection, schema, key).epoch
            if not self._for_copy:
                require_finished(connection, str(self.address))
            self.epoch = epoch
            logger.info("the log in %s is kept by %s", self.address, server)
            for warning in server.warnings():
                logger.warning("%s", warning)
        told = self.told
        history = check_identity(connection, key, self.epoch, self._history, told)
        self._accept(history)
        # Before this hub hears of anything that was stored after a failover.
        report(connection, self._hub, told)
        self.checks += 1
        return history

    def tell(self, position: int) -> None:
        """Note a position that is answered or told from now on."""
        with self._guard:
            self.told = max(self.told, position)

    async def _look_at(self, number: int) -> None:
        connection = PostgresConnection(self.address, "hookbot", self._see, host=number)
        # If it can be reached later, it is checked like any other.
        with suppress(Unavailable, ConfigError):
            await connection.open()
        connection.close()

    def _see(self, connection: "Connection[Any]") -> None:
        history = load_history(connection)
        with self._guard:
            if self._history is None or self._history.timeline < history.timeline:
                self._history = history

    def _accept(self, history: History) -> None:
        with self._guard:
            # Another thread has seen a newer one meanwhile.
            if self._history and history.timeline < self._history.timeline:
                raise Unavailable("the server is an old primary")
            self._history = history
