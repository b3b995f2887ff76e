"""Upstreams: websockets from this hub to another one of its family, which serves what a client of this one asks for."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from functools import lru_cache

import trio
from wsproto import ConnectionType, WSConnection
from wsproto.connection import Connection, ConnectionState
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Message,
    Ping,
    RejectConnection,
    RejectData,
    Request,
    TextMessage,
)
from wsproto.utilities import ProtocolError

from ..client.address import Address
from ..client.connect import open_stream, tls_context
from ..errors import Ended, HookbotError, Lost
from ..protocol.headers import encoded, end_to_end
from ..protocol.message import Headers
from ..protocol.response import Response
from ..protocol.websocket import NORMAL

# Between hubs that share a log: each step of the connection, and the answer to a request. Less than a client waits.
ANSWER_S = 5.0

# As soon as another hub may take over what a hub serves that is silent.
SILENCE_S = 10.0
PING_S = 3.0

CLOSE_S = 1.0

# More than the largest body, of which JSON may take six bytes for each.
MAX_MESSAGE_BYTES = 256 << 20

# A hub refuses in one sentence.
_MAX_REFUSAL_BYTES = 64 << 10
_RECEIVE_BYTES = 64 << 10
_CLOSED_BY_HUB = (ConnectionState.REMOTE_CLOSING, ConnectionState.CLOSED)

_default_tls = lru_cache(1)(tls_context)


class Answered(Exception):
    """The other hub has refused the handshake; the client gets the same `response`."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status)
        self.response = response


class Upstream:
    """An open websocket to another hub: one task receives, others may send. Made by `open_upstream`."""

    def __init__(self, stream: trio.abc.Stream, received: WSConnection, subprotocol: str | None) -> None:
        self.subprotocol = subprotocol
        """The subprotocol that the other hub has chosen."""
        self._stream = stream
        self._received = received
        # Of its own: what a client sent before it saw a close frame is sent after that was received.
        self._sent = Connection(ConnectionType.CLIENT)
        self._sending = trio.Lock()

    async def receive(self) -> str | bytes:
        """The next message; cancelling loses it. Nothing is read ahead, so that the other hub waits for this one.

        Raises `Ended` with the code and the reason of a close frame, and `Lost` if the connection has broken, or the
        other hub is silent for `SILENCE_S`.
        """
        parts: list[str | bytes] = []
        size = 0
        while True:
            for event in self._received.events():
                if isinstance(event, Message):
                    parts.append(event.data)
                    size += len(event.data)
                    if event.message_finished:
                        return "".join(parts) if isinstance(event, TextMessage) else b"".join(parts)  # type: ignore[arg-type]
                elif isinstance(event, Ping):
                    await self._send(event.response())
                elif isinstance(event, CloseConnection):
                    raise self._why_closed(event)
            if size > MAX_MESSAGE_BYTES:
                raise Lost("the other hub has sent a message that is too large")
            self._received.receive_data(await _receive(self._stream))

    async def send(self, message: str | bytes) -> None:
        """Send a message, if the connection is open; not cancellable, since half a frame must not be left behind."""
        await self._send(TextMessage(message) if isinstance(message, str) else BytesMessage(message))

    async def keep_pinging(self) -> None:
        """Send pings, so that the other hub is not silent, nor takes this one for gone while its client is slow."""
        while True:
            await trio.sleep(PING_S)
            await self._send(Ping())

    async def close(self) -> None:
        """Close, and wait until the other hub has answered, since it has then read everything; for `CLOSE_S` at most.

        Not cancellable.
        """
        with trio.CancelScope(shield=True, deadline=trio.current_time() + CLOSE_S), suppress(HookbotError):
            await self._send(CloseConnection(NORMAL), within_s=CLOSE_S)
            while True:
                await self.receive()

    async def _send(self, event: Event, *, within_s: float | None = None) -> None:
        deadline = trio.current_time() + (within_s or SILENCE_S)
        with (
            trio.CancelScope(shield=True, deadline=deadline) as patience,
            # Whoever receives is told that the connection has broken.
            suppress(trio.BrokenResourceError, trio.ClosedResourceError),
        ):
            async with self._sending:
                if self._sent.state is ConnectionState.OPEN:
                    await self._stream.send_all(self._sent.send(event))
        if patience.cancelled_caught:
            await trio.aclose_forcefully(self._stream)

    def _why_closed(self, event: CloseConnection) -> HookbotError:
        # wsproto reports what it cannot parse as if a close frame had come; only its state tells that none has.
        if self._received.state not in _CLOSED_BY_HUB:
            return Lost(f"the other hub, or a proxy, violates the websocket protocol ({event.reason})")
        return Ended(event.code, event.reason or "")


@asynccontextmanager
async def open_upstream(
    url: str, target: str, headers: Headers, subprotocols: Sequence[str]
) -> AsyncIterator[Upstream]:
    """A websocket to the hub at `url`, which is asked for the target; closed at the end of the block.

    Raises `Lost` or `Refused` if there is no connection, and `Answered` if the other hub refuses the handshake.
    """
    address = Address.parse(url)
    stream = await open_stream(address, None, _default_tls(), ANSWER_S)
    try:
        request = Request(
            host=address.netloc, target=target, extra_headers=encoded(headers), subprotocols=list(subprotocols)
        )
        with trio.move_on_after(ANSWER_S) as patience:
            upstream = await _shake_hands(stream, request)
        if patience.cancelled_caught:
            raise Lost(f"no response within {ANSWER_S:g} s")
        try:
            yield upstream
        finally:
            await upstream.close()
    finally:
        await trio.aclose_forcefully(stream)


async def _shake_hands(stream: trio.abc.Stream, request: Request) -> Upstream:
    websocket = WSConnection(ConnectionType.CLIENT)
    rejected, body = RejectConnection(), bytearray()
    try:
        await stream.send_all(websocket.send(request))
        while True:
            websocket.receive_data(await _receive(stream))
            for event in websocket.events():
                match event:
                    case AcceptConnection(subprotocol=subprotocol):
                        return Upstream(stream, websocket, subprotocol)
                    case RejectConnection():
                        rejected = event
                    case RejectData(data=data, body_finished=finished):
                        body += data
                        if finished or len(body) > _MAX_REFUSAL_BYTES:
                            raise _refusal(rejected, bytes(body))
    except (ProtocolError, trio.BrokenResourceError) as error:
        raise Lost(f"no valid response to a websocket handshake: {error}") from None


def _refusal(rejected: RejectConnection, body: bytes) -> Exception:
    """Answer to the client if the other hub refuses: the same, if it is the client's matter or passes."""
    status = rejected.status_code
    if not (400 <= status < 500 or status == 503):
        return Lost(f"it answered {status}")
    fields = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in rejected.headers]
    return Answered(Response(body, status, tuple(field for field in end_to_end(fields) if field[0].lower() != "date")))


async def _receive(stream: trio.abc.Stream) -> bytes:
    """Some bytes. Raises `Lost` if the connection has ended, or for `SILENCE_S` nothing comes."""
    with trio.move_on_after(SILENCE_S), suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        if data := await stream.receive_some(_RECEIVE_BYTES):
            return bytes(data)
        raise Lost("the connection was cut")
    raise Lost("the connection was cut, or nothing was received")
