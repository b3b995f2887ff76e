"""The ASGI server: serves an app over Hypercorn's protocols, connection by connection."""

import logging
import socket
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import trio
from hypercorn.trio.worker_context import WorkerContext

from ...errors import system_reason
from ..limits import ConnectionLimits
from ..turns import Turns
from ..unauthenticated import (
    ACCEPT_PAUSE_S,
    HANDLING_STEPS,
    NO_ROOM,
    OUT_OF_FILES,
    UnauthenticatedConnections,
    refusal,
)
from .config import ServingConfig
from .connection import AsgiConnection
from .transport import PrefixedStream, Transport, peer_of, stream_over

logger = logging.getLogger(__package__)


class Server:
    """A server for one ASGI app. It does not run the app's lifespan: the hub's tasks live outside the app.

    A failure in one connection ends that connection only. `shut_down` sets `closing`; an endless response can watch it
    to end before it is cut.
    """

    def __init__(
        self,
        app: Any,
        limits: ConnectionLimits = ConnectionLimits(),  # noqa: B008 - frozen
        unauthenticated: UnauthenticatedConnections | None = None,
    ) -> None:
        self.closing = trio.Event()
        self.connections = 0
        """Number of connections that it serves."""
        self._app = app
        self._unauthenticated = unauthenticated or UnauthenticatedConnections()
        self._config = ServingConfig(limits, self._unauthenticated.note)
        # Of all clients, also of those with a token: nobody needs what they send after the last response.
        self._draining = Turns(HANDLING_STEPS)
        self._context = WorkerContext(None)
        # Hypercorn only calls `wait` and `is_set`, which a trio.Event has.
        self._context.terminated = self.closing  # type: ignore[assignment]

    def shut_down(self) -> None:
        """Stop accepting, send 1001 to websockets, and let responses finish; what is left is cut after `grace_s`."""
        self.closing.set()

    async def serve_connection(self, stream: Transport) -> None:
        """Serve an accepted connection until it is over, and close it. Does the handshake of a TLS connection first."""
        connection = AsgiConnection(
            self._app, self._config, self._context, self._unauthenticated, self._draining, stream
        )
        self.connections += 1
        try:
            await connection.run()
        finally:
            self.connections -= 1

    async def serve_socket(self, sock: socket.socket, prefix: bytes) -> None:
        """Serve a connection whose first bytes, `prefix`, were already read from its socket."""
        await self.serve_connection(PrefixedStream(prefix, stream_over(sock)))

    async def serve_listeners(
        self,
        listeners: Sequence[trio.abc.Listener[Any]],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Accept and serve until `shut_down`; return when every connection is over. Closes the listeners.

        While there is no room for another connection, it waits and tries again.
        """
        patient = [_PatientListener(listener, self._unauthenticated) for listener in listeners]
        async with trio.open_nursery() as connections, trio.open_nursery() as accepting:
            serve = partial(trio.serve_listeners, self._serve_accepted, patient)
            accepting.start_soon(partial(serve, handler_nursery=connections))
            task_status.started()
            await self.closing.wait()
            accepting.cancel_scope.cancel()

    async def _serve_accepted(self, stream: Transport) -> None:
        if self._unauthenticated.admits(peer_of(stream)):
            await self.serve_connection(stream)
            return
        # A response would take a whole handshake with TLS; without it, a new socket takes it at once.
        if isinstance(stream, trio.SocketStream):
            with suppress(OSError), trio.move_on_after(ACCEPT_PAUSE_S):
                await stream.socket.send(refusal())
        await trio.aclose_forcefully(stream)


class _PatientListener(trio.abc.Listener[Any]):
    """Listener that leaves connections in the kernel's queue while there is no room for them."""

    def __init__(self, listener: trio.abc.Listener[Any], unauthenticated: UnauthenticatedConnections) -> None:
        self._listener = listener
        self._unauthenticated = unauthenticated
        self._full = False

    async def accept(self) -> Any:
        """The next connection, as soon as there is one and room for it."""
        while True:
            try:
                stream = await self._listener.accept()
            except OSError as error:
                if error.errno not in OUT_OF_FILES:
                    raise
                if not self._unauthenticated.make_room():
                    await self._pause(system_reason(error))
            else:
                await self._wait_for_room(stream)
                return stream

    async def _wait_for_room(self, stream: Transport) -> None:
        try:
            while not self._unauthenticated.has_room():
                await self._pause(NO_ROOM)
        except trio.Cancelled:
            await trio.aclose_forcefully(stream)
            raise
        self._full = False

    async def aclose(self) -> None:
        """Close the listening socket."""
        await self._listener.aclose()

    async def _pause(self, reason: str) -> None:
        # Logged once until a connection is accepted again, not at each attempt.
        if not self._full:
            self._full = True
            logger.warning("no connection can be accepted for now: %s; retrying until one can", reason)
        await trio.sleep(ACCEPT_PAUSE_S)
