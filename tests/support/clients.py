"""Clients of hubs, on real sockets: as bytes, by a websocket, and of a stream; and the bytes of requests."""

import ssl
from base64 import b64encode
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from socket import SO_LINGER, SO_RCVBUF, SOL_SOCKET
from struct import pack
from typing import Any, Self, TypeAlias
from urllib.parse import unquote

import h11
import trio
from websockets.client import ClientProtocol
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from hookbot.access.tokens import make_token
from support import KEY

CHUNK_BYTES = 65536

ClientStream: TypeAlias = trio.SocketStream | trio.SSLStream[trio.SocketStream]


@dataclass
class Answer:
    """An HTTP response. The names of its headers are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class Client:
    """One connection to a hub, that can be as rude as a test wants."""

    def __init__(self, stream: ClientStream) -> None:
        self.stream = stream
        self.received = b""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: Any) -> None:
        await trio.aclose_forcefully(self.stream)

    async def send(self, data: bytes, *, bytewise: bool = False) -> None:
        for start in range(0, len(data), 1 if bytewise else len(data) or 1):
            await self.stream.send_all(data[start : start + 1] if bytewise else data)

    @property
    def transport(self) -> trio.SocketStream:
        """The stream without TLS."""
        return self.stream.transport_stream if isinstance(self.stream, trio.SSLStream) else self.stream

    async def send_eof(self) -> None:
        """Close our side. Trio's TLS would then also end receiving."""
        if isinstance(self.stream, trio.SSLStream):
            with suppress(ssl.SSLWantReadError):
                self.stream._ssl_object.unwrap()
            await self.transport.send_all(self.stream._outgoing.read())
        await self.transport.send_eof()

    async def until(self, mark: bytes) -> bytes:
        """Bytes up to and including `mark`; those after it stay for the next call."""
        while mark not in self.received:
            await self._more()
        found, _, self.received = self.received.partition(mark)
        return found + mark

    async def exactly(self, size: int) -> bytes:
        while len(self.received) < size:
            await self._more()
        found, self.received = self.received[:size], self.received[size:]
        return found

    async def _more(self) -> None:
        data = await self._receive()
        assert data, f"closed after {self.received!r}"
        self.received += data

    async def _receive(self) -> bytes:
        try:
            return bytes(await self.stream.receive_some(CHUNK_BYTES))
        except trio.BrokenResourceError as error:
            # The end of both sides, for Trio's TLS.
            if isinstance(error.__cause__, ssl.SSLZeroReturnError):
                return b""
            raise

    async def rest(self) -> bytes:
        """Bytes until the hub closes; a reset raises `trio.BrokenResourceError`."""
        while data := await self._receive():
            self.received += data
        found, self.received = self.received, b""
        return found

    async def answer(self) -> Answer:
        """The next whole response."""
        status, *fields = (await self.until(b"\r\n\r\n")).decode("latin-1").rstrip().split("\r\n")
        headers = {name.lower(): value for name, _, value in (field.partition(": ") for field in fields)}
        return Answer(int(status.split()[1]), headers, await self.exactly(int(headers.get("content-length", 0))))

    async def closed(self) -> None:
        """Wait until the hub has closed the connection, with nothing more to say."""
        assert await self.rest() == b""

    async def reset(self) -> None:
        """End the connection as a crash would."""
        self.transport.setsockopt(SOL_SOCKET, SO_LINGER, pack("ii", 1, 0))
        await trio.aclose_forcefully(self.stream)


async def connect(port: int, *, receive_buffer: int | None = None, tls: ssl.SSLContext | None = None) -> Client:
    """A connection to a port of this machine; to a server called ``hub``, with the context of TLS if there is one."""
    sock = trio.socket.socket()
    if receive_buffer:
        sock.setsockopt(SOL_SOCKET, SO_RCVBUF, receive_buffer)
    try:
        await sock.connect(("127.0.0.1", port))
    except OSError:
        sock.close()
        raise
    stream = trio.SocketStream(sock)
    if not tls:
        return Client(stream)
    secured = trio.SSLStream(stream, tls, server_hostname="hub", https_compatible=True)
    try:
        await secured.do_handshake()
    except trio.BrokenResourceError:
        await trio.aclose_forcefully(secured)
        raise
    return Client(secured)


class WebSocket:
    """The `websockets` library's client protocol over a `Client`: pings answered, every other frame as it came."""

    def __init__(
        self,
        client: Client,
        path: str,
        subprotocol: str | list[str] | None = None,
        *,
        headers: Iterable[tuple[str, str]] = (),
        extensions: list[ClientPerMessageDeflateFactory] | None = None,
    ) -> None:
        names = [subprotocol] if isinstance(subprotocol, str) else subprotocol
        subprotocols = None if names is None else [Subprotocol(name) for name in names]
        uri = parse_uri(f"ws://hub{path}")
        self.client = client
        self.protocol = ClientProtocol(uri, subprotocols=subprotocols, extensions=extensions, max_size=None)
        self.pongs = True
        self.status: int | None = None
        self.headers: dict[str, str] = {}
        self._fields = headers
        self._events: deque[Response | Frame] = deque()

    async def ask(self) -> None:
        """Send the handshake."""
        request = self.protocol.connect()
        for name, value in self._fields:
            request.headers[name] = value
        self.protocol.send_request(request)
        await self._flush()

    async def answered(self) -> Self:
        """Itself, when the handshake was answered, which `status` and `headers` tell."""
        response = await self._event()
        assert isinstance(response, Response), self.protocol.handshake_exc or "closed without an answer"
        self.status = response.status_code
        self.headers = {name.lower(): value for name, value in response.headers.raw_items()}
        return self

    async def accepted(self) -> Self:
        """Itself, when the handshake was answered as it should be."""
        await self.answered()
        assert self.protocol.handshake_exc is None, self.protocol.handshake_exc
        return self

    async def send(self, message: str | bytes) -> None:
        """Send a message; a string is text."""
        if isinstance(message, str):
            self.protocol.send_text(message.encode())
        else:
            self.protocol.send_binary(message)
        await self._flush()

    async def frame(self) -> Frame | None:
        """The next frame that is no ping or pong; None when the hub has closed the connection."""
        frame = await self._event()
        assert not isinstance(frame, Response)
        return frame

    async def _event(self) -> Response | Frame | None:
        while not self._events:
            data = await self.client.stream.receive_some(CHUNK_BYTES)
            if data:
                self.protocol.receive_data(bytes(data))
            else:
                self.protocol.receive_eof()
            self._events.extend(
                event
                for event in self.protocol.events_received()
                if isinstance(event, Response)
                or (isinstance(event, Frame) and event.opcode not in (Opcode.PING, Opcode.PONG))
            )
            if self.pongs:
                await self._flush()
            if not data:
                break
        return self._events.popleft() if self._events else None

    async def payload(self) -> bytes:
        """The payload of the next frame."""
        frame = await self.frame()
        assert frame is not None, "closed"
        return bytes(frame.data)

    async def payloads(self, count: int) -> list[bytes]:
        return [await self.payload() for _ in range(count)]

    async def take(self) -> bytes | None:
        """The next message, as bytes; None at the end."""
        taken = b""
        while (frame := await self.frame()) is not None and frame.opcode is not Opcode.CLOSE:
            taken += frame.data
            if frame.fin:
                return taken
        return None

    async def closed(self) -> int | None:
        """The code of the hub's close frame, when the hub has closed the connection; None if there was none."""
        while await self._event() is not None:
            pass
        received = self.protocol.close_rcvd
        return None if received is None else received.code

    async def _flush(self) -> None:
        for data in self.protocol.data_to_send():
            await (self.client.send(data) if data else self.client.send_eof())


class Stream:
    """An answer that goes on, as events or as lines of JSON."""

    def __init__(self, client: Client, path: str, headers: Iterable[tuple[str, str]] = ()) -> None:
        self._client = client
        self._request = h11.Request(method="GET", target=path, headers=[("Host", "hub"), *headers])
        self._http = h11.Connection(h11.CLIENT)
        self._received = b""
        self.status: int | None = None
        self.headers: dict[str, str] = {}

    async def ask(self) -> None:
        for event in (self._request, h11.EndOfMessage()):
            await self._client.send(self._http.send(event) or b"")

    async def answered(self) -> Self:
        """Itself, when its head has come, which `status` and `headers` tell."""
        answer = await self._next()
        assert isinstance(answer, h11.Response), answer
        self.status = answer.status_code
        self.headers = {name.decode(): value.decode() for name, value in answer.headers}
        return self

    async def take(self) -> bytes | None:
        """The next event or line, as bytes; None at the end."""
        return await self._until(b"\n\n" if self.headers["content-type"].startswith("text/event-stream") else b"\n")

    async def lines(self, count: int) -> list[str]:
        """The next lines, as strings."""
        return [(await self._line()).decode() for _ in range(count)]

    async def _line(self) -> bytes:
        line = await self._until(b"\n")
        assert line is not None, "the stream has ended"
        return line

    async def closed(self) -> None:
        """Wait for the end of the answer, in due form; no stream has a code, as a websocket has."""
        while await self.take() is not None:
            pass

    async def _until(self, mark: bytes) -> bytes | None:
        while mark not in self._received:
            event = await self._next()
            if not isinstance(event, h11.Data):
                return None
            self._received += bytes(event.data)
        found, _, self._received = self._received.partition(mark)
        return found

    async def _next(self) -> h11.Event:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            self._http.receive_data(bytes(await self._client.stream.receive_some(CHUNK_BYTES)))
        assert isinstance(event, h11.Event), event
        return event


def basic(path: str) -> str:
    """Basic credentials for the path of a target."""
    return b64encode(f"{make_token(KEY, unquote(path.partition('?')[0]))}:".encode()).decode()


def post(
    path: str = "/pub/topic",
    body: bytes | None = b"hello",
    *fields: str,
    version: str = "1.1",
    token: str | None = None,
) -> bytes:
    """The bytes of a publish; a body of None leaves the headers as they are."""
    lines = [f"POST {path} HTTP/{version}", "Host: hub", f"Authorization: Basic {token or basic(path)}"]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, *fields, "", ""]).encode("latin-1") + (body or b"")


def chunks(*parts: bytes, trailer: bytes = b"") -> bytes:
    """The bytes of a chunked body."""
    sent = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
    return sent + b"0\r\n" + trailer + b"\r\n"


def handshake(path: str = "/sub/topic", *fields: str, token: str | None = None) -> bytes:
    """The bytes of a websocket handshake."""
    lines = [
        f"GET {path} HTTP/1.1",
        "Host: hub",
        f"Authorization: Basic {token or basic(path)}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ]
    return "\r\n".join([*lines, *fields, "", ""]).encode("latin-1")


def masked(opcode: Opcode, data: bytes = b"", fin: bool = True) -> bytes:
    """A frame as clients have to send it."""
    return Frame(Opcode(opcode), data, fin).serialize(mask=True)


def fragmented(data: bytes, size: int) -> bytes:
    """A binary message in fragments of a size, between two that are empty."""
    parts = [masked(Opcode.CONT, data[start : start + size], fin=False) for start in range(0, len(data), size)]
    return masked(Opcode.BINARY, fin=False) + b"".join(parts) + masked(Opcode.CONT)


def messages(*payloads: bytes) -> bytes:
    """Binary messages as clients have to send them."""
    return b"".join(masked(Opcode.BINARY, payload) for payload in payloads)
