"""An app alone, served on a real socket."""

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import trio

from hookbot.web.asgi import Server
from hookbot.web.asgi.quart import HookbotApp
from hookbot.web.limits import ConnectionLimits
from support import GUARD_S
from support.clients import Client, WebSocket, connect


class ServedApp:
    """A server of an app, on a port of its own."""

    def __init__(self, server: Server, port: int, trust: str | None) -> None:
        self.server = server
        self.port = port
        self.trust = trust
        self.clients: list[Client] = []

    async def connect(self, *, alpn: str = "http/1.1", certificate: str | None = None) -> Client:
        """A connection, with TLS if the server has it; closed at the end of the test, if not before."""
        context = None
        if self.trust:
            context = ssl.create_default_context(cafile=self.trust)
            context.set_alpn_protocols([alpn])
            if certificate:
                context.load_cert_chain(certificate)
        client = await connect(self.port, tls=context)
        self.clients.append(client)
        return client

    async def ask(self, request: bytes) -> bytes:
        """Everything that comes back for these bytes until the server closes."""
        async with await self.connect() as client:
            await client.send(request)
            return await client.rest()

    async def websocket(self, path: str = "/ws", subprotocol: list[str] | None = None, **options: Any) -> WebSocket:
        """A websocket whose handshake was sent."""
        websocket = WebSocket(await self.connect(), path, subprotocol, **options)
        await websocket.ask()
        return websocket


@asynccontextmanager
async def open_app(
    app: HookbotApp | Callable[..., Any], *, certificate: str | None = None, clients: str | None = None, **limits: Any
) -> AsyncIterator[ServedApp]:
    """The app behind a `Server`, with TLS if there is a certificate; `clients` is the authority of theirs."""
    with trio.fail_after(GUARD_S):
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listener.socket.getsockname()[1]
        listeners: list[Any] = [listener]
        if certificate:
            listeners = [trio.SSLListener(listener, _tls(certificate, clients), https_compatible=True)]
        served = ServedApp(Server(app, ConnectionLimits(**limits)), port, certificate)
        async with trio.open_nursery() as nursery:
            await nursery.start(served.server.serve_listeners, listeners)
            try:
                yield served
            finally:
                for client in served.clients:
                    await trio.aclose_forcefully(client.stream)
                nursery.cancel_scope.cancel()


def _tls(certificate: str, clients: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=clients)
    context.load_cert_chain(certificate)
    context.set_alpn_protocols(["h2", "http/1.1"])
    context.verify_mode = ssl.CERT_OPTIONAL if clients else ssl.CERT_NONE
    return context
