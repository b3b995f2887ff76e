"""The connection on which a hub hears at once what other hubs tell it by NOTIFY.

A notification is a hint: one that is sent while nobody listens is lost, so whoever waits for it looks without one, too.
"""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any
from uuid import uuid4

import trio

from ..errors import Unavailable
from .postgres_address import PostgresAddress
from .postgres_connection import PostgresConnection
from .postgres_errors import unavailable

# `require_psycopg` says what to install.
with suppress(ImportError):
    import psycopg
    from psycopg.sql import SQL, Identifier

CHECK_S = 15.0
"""After this time without a notification, a connection that is dead without a word is looked for."""
ANSWER_S = 5.0
HEARD_S = 2.0


Run = Callable[[Callable[["psycopg.Connection[Any]"], object]], Awaitable[object]]


class PostgresListener:
    """Connection that listens on the channel of its address, from `open` until it is lost or closed.

    It occupies no thread while it waits. For one task.
    """

    def __init__(
        self,
        address: PostgresAddress,
        name: str,
        check: "Callable[[psycopg.Connection[Any]], object]" = lambda _: None,
        current: Callable[[], object] = lambda: None,
        *,
        check_s: float = CHECK_S,
    ) -> None:
        self._channel = address.channel
        self._check_s = check_s
        self._check_at = 0.0
        self._connection = PostgresConnection(address, name, check, current)
        self._listening: psycopg.Connection[Any] | None = None
        self._payloads: list[str] = []

    async def open(self) -> None:
        """Listen from now on, on a new connection. Raises `Unavailable`."""
        self.close()
        self._listening = await self._connection.run(self._listen, deadline_s=ANSWER_S)
        self._check_at = trio.current_time() + self._check_s

    async def wait(self) -> Sequence[str]:
        """Payloads of the notifications since the last call, as soon as there is one. Cancelling loses none.

        `Unavailable` when the connection is lost: after that, it has to be opened again, and what was sent meanwhile
        was not heard.
        """
        await trio.lowlevel.checkpoint()
        while True:
            connection = self._receive()
            if self._payloads:
                self._check_at = trio.current_time() + self._check_s
                payloads, self._payloads = self._payloads, []
                return payloads
            with trio.move_on_at(self._check_at) as waiting:
                await trio.lowlevel.wait_readable(connection.fileno())
            if waiting.cancelled_caught:
                await self._check()

    async def hears(self, run: Run, *, within_s: float = HEARD_S) -> bool:
        """True if a notification arrives here that is sent on another connection, to which `run` gives work.

        If not, a proxy between the hub and the server gives a client another session for each transaction: then the
        settings of a session, as its schema, are those of whoever used it before. The notifications that arrive
        meanwhile are dropped, and the other hubs hear a payload that has no meaning.
        """
        token = uuid4().hex
        await run(lambda connection: connection.execute("SELECT pg_notify(%s, %s)", [self._channel, token]))
        with trio.move_on_after(within_s):
            while token not in await self.wait():
                pass
            return True
        return False

    def close(self) -> None:
        """Close the connection."""
        self._listening = None
        self._connection.close()

    def _listen(self, connection: "psycopg.Connection[Any]") -> "psycopg.Connection[Any]":
        # Called for those that arrive with the answer to a statement.
        connection.add_notify_handler(lambda notify: self._payloads.append(notify.payload))
        connection.execute(SQL("LISTEN {}").format(Identifier(self._channel)))
        return connection

    def _receive(self) -> "psycopg.Connection[Any]":
        """Take what has arrived, without waiting."""
        if self._listening is None:
            raise Unavailable("the hub does not listen to the notifications of its log")
        try:
            # What `Connection.notifies` does, without its wait: one of no time sees nothing in some versions.
            self._listening.pgconn.consume_input()
            while notify := self._listening.pgconn.notifies():
                self._payloads.append(notify.extra.decode())
        except psycopg.Error as error:
            self._listening = None
            raise unavailable("hear the notifications of", error) from error
        return self._listening

    async def _check(self) -> None:
        """Ask the server for an answer. Raises `Unavailable` if there is none."""
        try:
            await self._connection.run(lambda connection: connection.execute("SELECT 1"), deadline_s=ANSWER_S)
        except Unavailable:
            self._listening = None
            raise
        self._check_at = trio.current_time() + self._check_s
