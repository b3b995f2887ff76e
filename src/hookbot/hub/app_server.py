"""The server of the app, which is imported and made last.

Quart, Hypercorn and what they need take longer to import than all the rest of the start. The fast path listens before.
"""

import socket
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import trio

from ..threads import hub_threads
from ..web.limits import ConnectionLimits
from ..web.listening import ListeningSocket
from ..web.services import Services
from ..web.tls_stream import TlsListener
from ..web.unauthenticated import UnauthenticatedConnections

if TYPE_CHECKING:
    from ..web.asgi import Server


class AppServer:
    """Server of an app: `make` imports both, and whatever else needs them waits for `made`."""

    def __init__(self, make_server: Callable[[], "Server"]) -> None:
        self.made = trio.Event()
        self._make_server = make_server
        self._server: Server
        self._closing = False

    @classmethod
    def of_hub(cls, services: Services, limits: ConnectionLimits) -> "AppServer":
        """Server of the hub's app."""
        return cls(lambda: _make_server(services, limits))

    @classmethod
    def of_starting_hub(cls, limits: ConnectionLimits, unauthenticated: UnauthenticatedConnections) -> "AppServer":
        """Server of the app of a hub that has no log yet."""
        return cls(lambda: _make_starting_server(limits, unauthenticated))

    async def make(self) -> None:
        """Import the app in a thread, and make it and its server. Not cancellable: no import is left half done."""
        self._server = await trio.to_thread.run_sync(self._make_server, limiter=hub_threads())
        self.made.set()
        if self._closing:
            self._server.shut_down()

    async def serve_connection(self, sock: socket.socket, prefix: bytes) -> None:
        """Serve a connection, from which `prefix` was already read, until it is over; only once it is `made`."""
        await self._server.serve_socket(sock, prefix)

    async def serve_listeners(
        self,
        listening: Sequence[ListeningSocket],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Make the server, then accept and serve until `shut_down`, and return when every connection is over."""
        await self.make()
        await self._server.serve_listeners([_listener(one) for one in listening], task_status=task_status)

    def shut_down(self) -> None:
        """Shut the server down, or let it be made so that it is; see `Server.shut_down`."""
        self._closing = True
        if self.made.is_set():
            self._server.shut_down()


def _listener(one: ListeningSocket) -> trio.SocketListener | TlsListener:
    one.sock.setblocking(False)
    listener = trio.SocketListener(trio.socket.from_stdlib_socket(one.sock))
    return TlsListener(listener, one.tls) if one.tls else listener


def _make_server(services: Services, limits: ConnectionLimits) -> "Server":
    from ..web.app import create_app  # noqa: PLC0415
    from ..web.asgi import Server  # noqa: PLC0415

    server = Server(create_app(services), limits, services.unauthenticated)
    services.connections["app"] = lambda: server.connections
    return server


def _make_starting_server(limits: ConnectionLimits, unauthenticated: UnauthenticatedConnections) -> "Server":
    from ..web.asgi import Server  # noqa: PLC0415
    from ..web.starting import create_starting_app  # noqa: PLC0415

    return Server(create_starting_app(), limits, unauthenticated)
