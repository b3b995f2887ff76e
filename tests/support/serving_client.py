"""Clients of a served app, on real sockets, that can be as rude as a test wants."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
from wsproto import WSConnection
from wsproto.connection import ConnectionState, ConnectionType
from wsproto.events import AcceptConnection, CloseConnection, Ping, Request
from wsproto.frame_protocol import FrameProtocol

from hookbot.web.asgi import Server
from hookbot.web.limits import ConnectionLimits

GUARD_S = 20  # only ever reached by a test that fails

HANDSHAKE = (
    b"GET %b HTTP/1.1\r\nHost: hub\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%b\r\n"
)


class Served:
    """A server of an app, on a port of its own."""

    def __init__(self, server, port, trust):
        self.server = server
        self.port = port
        self.trust = trust
        self.wires = []

    async def connect(self, *, alpn="http/1.1", certificate=None):
        """A connection, with TLS if the server has it; closed at the end of the test, if not before."""
        stream = await trio.open_tcp_stream("127.0.0.1", self.port)
        if self.trust:
            context = ssl.create_default_context(cafile=self.trust)
            context.set_alpn_protocols([alpn])
            if certificate:
                context.load_cert_chain(certificate)
            stream = trio.SSLStream(stream, context, server_hostname="hub")
            await stream.do_handshake()
        self.wires.append(Wire(stream))
        return self.wires[-1]

    async def ask(self, request):
        """Everything that comes back for these bytes until the server closes."""
        async with await self.connect() as wire:
            await wire.send(request)
            return await wire.rest()

    async def websocket(self, path="/ws", **fields):
        socket = WebSocket(await self.connect())
        await socket.send(Request(host="hub", target=path, **fields))
        return socket


class Wire:
    """One connection, as bytes."""

    def __init__(self, stream):
        self.stream = stream
        self.received = b""

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        await trio.aclose_forcefully(self.stream)

    async def send(self, data):
        await self.stream.send_all(data)

    async def until(self, mark):
        """What comes up to `mark` and with it; what comes after it stays for the next."""
        while mark not in self.received:
            data = await self.stream.receive_some(65536)
            assert data, f"closed before {mark!r}: {self.received!r}"
            self.received += data
        found, _, self.received = self.received.partition(mark)
        return found + mark

    async def rest(self):
        """What comes until the server closes; a reset raises `trio.BrokenResourceError`."""
        async for data in self.stream:
            self.received += data
        found, self.received = self.received, b""
        return found


class WebSocket:
    """A well-behaved websocket client, pings answered, whose connection can also be used as bytes."""

    def __init__(self, wire, *, pongs=True):
        self.wire = wire
        self.pongs = pongs
        self.protocol = WSConnection(ConnectionType.CLIENT)

    async def send(self, event):
        await self.wire.send(self.protocol.send(event))

    async def receive(self):
        """The next event; None when the server has closed."""
        while True:
            for event in self.protocol.events():
                if not isinstance(event, Ping):
                    return event
                if self.pongs and self.protocol.state is ConnectionState.OPEN:
                    await self.send(event.response())
            data = await self.wire.stream.receive_some(65536)
            if not data:
                return None
            self.protocol.receive_data(data)

    async def receive_close(self):
        """The code of the server's goodbye, once the server has closed the connection as well."""
        while not isinstance(event := await self.receive(), CloseConnection):
            assert event is not None, "closed without a goodbye"
        if self.protocol.state is ConnectionState.REMOTE_CLOSING:
            await self.send(event.response())
        assert await self.wire.stream.receive_some(65536) == b""
        return event.code

    async def accepted(self):
        assert isinstance(event := await self.receive(), AcceptConnection), event
        return self


def client_frames(*payloads):
    """Binary messages, masked, as bytes."""
    protocol = FrameProtocol(client=True, extensions=[])
    return b"".join(bytes(protocol.send_data(payload)) for payload in payloads)


@asynccontextmanager
async def serve(app, *, certificate=None, clients=None, **limits) -> AsyncIterator[Served]:
    """The app behind a `Server`, with TLS if there is a certificate; `clients` is the authority of theirs."""
    with trio.fail_after(GUARD_S):
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listeners[0].socket.getsockname()[1]
        if certificate:
            listeners = [trio.SSLListener(listeners[0], _tls(certificate, clients), https_compatible=True)]
        served = Served(Server(app, ConnectionLimits(**limits)), port, certificate)
        async with trio.open_nursery() as nursery:
            await nursery.start(served.server.serve_listeners, listeners)
            try:
                yield served
            finally:
                for wire in served.wires:
                    await trio.aclose_forcefully(wire.stream)
                nursery.cancel_scope.cancel()


def _tls(certificate, clients):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=clients)
    context.load_cert_chain(certificate)
    context.set_alpn_protocols(["h2", "http/1.1"])
    context.verify_mode = ssl.CERT_OPTIONAL if clients else ssl.CERT_NONE
    return context
