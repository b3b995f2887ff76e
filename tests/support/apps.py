"""An app alone, served on a real socket."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from quart import Response

from hookbot.errors import HookbotError
from hookbot.protocol.request import Request
from hookbot.web.asgi import Server
from hookbot.web.asgi.quart import HookbotApp
from hookbot.web.limits import ConnectionLimits
from hookbot.web.tls import Tls, make_context
from hookbot.web.tls_stream import TlsListener
from hookbot.web.unauthenticated import UnauthenticatedConnections
from support import GUARD_S
from support.clients import Client, WebSocket, connect


class ObservedApp(HookbotApp):
    """An app whose handlers leave traces, and wait for the test."""

    def __init__(self, *, max_body_bytes: int = 1000) -> None:
        super().__init__("test", max_body_bytes=max_body_bytes)
        self.begun, self.go_on, self.ended = trio.Event(), trio.Event(), trio.Event()
        self.seen: list[Request] = []
        self.heard: list[str | bytes] = []
        self.sent = 0
        self.register_error_handler(HookbotError, _sentence)


async def _sentence(error: HookbotError) -> Response:
    return Response(f"{error}\n", error.status, content_type="text/plain; charset=utf-8")


def endless_app() -> ObservedApp:
    """An app with an answer that begins, and ends only with its reader; `ended` is set then."""
    app = ObservedApp()

    @app.get("/")
    async def stream() -> Response:
        async def parts() -> AsyncIterator[bytes]:
            try:
                yield b"begun"
                await trio.sleep_forever()
            finally:
                app.ended.set()

        return Response(parts())

    @app.get("/flood")
    async def flood() -> Response:
        async def parts() -> AsyncIterator[bytes]:
            try:
                while True:
                    yield bytes(1 << 20)
            finally:
                app.ended.set()

        return Response(parts())

    return app


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
    app: Any,
    *,
    certificate: str | None = None,
    clients: str | None = None,
    unauthenticated: UnauthenticatedConnections | None = None,
    **limits: Any,
) -> AsyncIterator[ServedApp]:
    """The app behind a `Server`, with TLS if there is a certificate; `clients` is the authority of theirs."""
    with trio.fail_after(GUARD_S):
        [plain] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = plain.socket.getsockname()[1]
        listener: trio.abc.Listener[Any] = plain
        if certificate:
            listener = TlsListener(plain, Tls(_tls(certificate, clients)))
        served = ServedApp(Server(app, ConnectionLimits(**limits), unauthenticated), port, certificate)
        async with trio.open_nursery() as nursery:
            await nursery.start(served.server.serve_listeners, [listener])
            try:
                yield served
            finally:
                for client in served.clients:
                    await trio.aclose_forcefully(client.stream)
                nursery.cancel_scope.cancel()


def _tls(certificate: str, clients: str | None) -> ssl.SSLContext:
    context = make_context(Path(certificate), Path(certificate), Path(clients) if clients else None)
    assert context
    return context


def self_signed(path: Path, name: str) -> tuple[str, bytes]:
    """A file with a certificate and its key; returns its path and the certificate, DER."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(private + certificate.public_bytes(Encoding.PEM))
    return str(path), certificate.public_bytes(Encoding.DER)
