"""One websocket to a hub. Every failure is a `HookbotError`: one of `PASSING` if the client should reconnect."""

import re
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from math import inf
from typing import NoReturn, cast

import h11
import trio
import wsproto.utilities
from trio_websocket import ConnectionClosed, ConnectionRejected, WebSocketConnection, wrap_client_stream
from wsproto.connection import ConnectionState

from ..errors import HookbotError, Lost, Refused, UpgradeRequired, first_error
from ..protocol.frames import SUBPROTOCOL
from ..protocol.response import error_from
from ..protocol.websocket import GONE, NORMAL
from ..terminal import one_line
from .address import Address
from .connect import failure, open_stream, proxy_of
from .frame_meter import FrameMeter
from .timing import Timing

# No hub answers a handshake with more.
_MAX_RESPONSE_BYTES = 1 << 20
# With the 4 KiB that are the default of trio-websocket, a backlog would take many more system calls.
_RECEIVE_BYTES = 1 << 16
# A refusal's reason comes at once; whoever sends an endless body is not waited for.
_BODY_S = 2.0
# trio-websocket does not translate these errors of its parsers; the last one is for header fields that are not ASCII.
_PROTOCOL_ERRORS = (h11.ProtocolError, wsproto.utilities.ProtocolError, UnicodeDecodeError)
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([0-9]{3})")
_NO_WEBSOCKET = "the hub does not answer as a websocket server does"
_NO_UPGRADE = (
    "{} in answer to a websocket handshake: a proxy on the way does not forward the headers Upgrade and Connection "
    "over HTTP/1.1 (nginx: proxy_http_version 1.1, proxy_set_header), or the URL is not that of a hub"
)
# RFC 6455, section 7.4.1, and the registry of IANA.
_WHY_CLOSED = {
    1001: "the hub is shutting down",
    1002: "the hub says that this client violates the websocket protocol",
    1003: "the hub does not accept what this client sends",
    1005: "the hub, or a proxy, closed the connection without a reason",
    1006: "the connection was cut",
    1007: "the hub does not accept what this client sends",
    1008: "the hub ended the subscription",
    1009: "the hub does not accept as much as this client sends at once",
    1010: "the hub does not accept what this client sends",
    1011: "the hub failed",
    1012: "the hub is restarting",
    1013: "the hub asks to try again later",
}

# Codes of wsproto's `ParseFailed`, and the states in which it has received a close frame.
_UNPARSABLE = (1002, 1007)
_CLOSED_BY_HUB = (ConnectionState.REMOTE_CLOSING, ConnectionState.CLOSED)


class _NoResponse(Exception):
    """There was no HTTP response to the handshake."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A subscription's address, headers, limits and timing: the same for every connection."""

    address: Address
    # Not in the repr: one of them carries the token.
    headers: Sequence[tuple[bytes, bytes]] = field(repr=False)
    tls: ssl.SSLContext
    max_frame_bytes: int
    timing: Timing


class HubConnection:
    """An open websocket. Cancelling `receive` is safe; cancelling `send` may cut a frame in two."""

    def __init__(self, websocket: WebSocketConnection) -> None:
        self._websocket = websocket

    @property
    def raw(self) -> bool:
        """True if the hub speaks only the ancestor's raw frames."""
        return self._websocket.subprotocol != SUBPROTOCOL

    async def receive(self) -> str | bytes | None:
        """The next frame, or None after close code 1000.

        Raises `Refused` for close code 4001, and `Lost` for any other end.
        """
        try:
            message: str | bytes = await self._websocket.get_message()
        except ConnectionClosed as error:
            if error.reason and error.reason.code == NORMAL:
                return None
            raise self._why_closed(error) from None
        return message

    async def send(self, text: str) -> None:
        """Send a text frame. If the connection is closed, raises as `receive` does, but `Lost` for code 1000."""
        try:
            await self._websocket.send_message(text)
        except ConnectionClosed as error:
            raise self._why_closed(error) from None

    async def close(self) -> None:
        """Perform the closing handshake (RFC 6455, section 7.1.2).

        The hub has then read everything that was sent, unless the connection breaks meanwhile, which is no error.
        """
        await self._websocket.aclose()

    def _why_closed(self, error: ConnectionClosed) -> HookbotError:
        # 1006: the connection was lost without a close frame (RFC 6455, section 7.4.1).
        code, reason = (error.reason.code, error.reason.reason) if error.reason else (1006, None)
        # wsproto reports what it cannot parse as if a close frame had come; only its state tells that none has.
        if code in _UNPARSABLE and self._websocket._wsproto.state not in _CLOSED_BY_HUB:
            return Lost(f"the hub, or a proxy, violates the websocket protocol ({one_line(reason or '')})")
        return _why_closed(code, reason)


@asynccontextmanager
async def open_connection(endpoint: Endpoint, query: Mapping[str, str]) -> AsyncIterator[HubConnection]:
    """An open websocket. On leaving, the connection is cut; for a closing handshake, call `HubConnection.close` before.

    Raises `Lost`, or the hub's refusal; within the body, too, if the connection fails there, or `BodyTooLarge` for a
    message over the limit.
    """
    timing = endpoint.timing
    error: BaseException | None = None
    stream: _WatchedStream | None = None
    try:
        async with trio.open_nursery() as nursery:
            proxy = proxy_of(endpoint.address)
            inner = await open_stream(endpoint.address, proxy, endpoint.tls, timing.handshake_s)
            stream = _WatchedStream(inner, timing.silence_s, endpoint.max_frame_bytes)
            try:
                with trio.fail_after(timing.handshake_s):
                    websocket = await _shake_hands(nursery, stream, endpoint, query)
                nursery.start_soon(_keep_pinging, nursery, websocket, timing.ping_s)
                yield HubConnection(websocket)
            finally:
                # Close before cancelling: afterwards, closing would raise Cancelled in place of the actual error.
                await trio.aclose_forcefully(stream.inner)
                nursery.cancel_scope.cancel()
    except* (HookbotError, ConnectionRejected, trio.TooSlowError, _NoResponse, *_PROTOCOL_ERRORS) as group:
        error = first_error(group)
    # Raised outside of `except*`, which would wrap it into a group again.
    if error is not None:
        raise await _failure(error, endpoint, stream) from None


async def _shake_hands(
    nursery: trio.Nursery, stream: "_WatchedStream", endpoint: Endpoint, query: Mapping[str, str]
) -> WebSocketConnection:
    websocket = await wrap_client_stream(
        nursery,
        # Any stream will do, according to the documentation of trio-websocket; only the annotation is narrower.
        cast("trio.SocketStream", stream),
        endpoint.address.netloc,
        endpoint.address.target(query),
        subprotocols=[SUBPROTOCOL],
        extra_headers=list(endpoint.headers),
        max_message_size=endpoint.max_frame_bytes,
        receive_buffer_size=_RECEIVE_BYTES,
    )
    stream.handshake_done = True
    return websocket


async def _keep_pinging(nursery: trio.Nursery, websocket: WebSocketConnection, interval_s: float) -> None:
    """Ping the hub, so that neither side takes a quiet connection for dead."""
    while True:
        await trio.sleep(interval_s)
        # In a task of its own: a ping waits for its pong, which does not come while the listener reads nothing.
        nursery.start_soon(_ping, websocket)


async def _ping(websocket: WebSocketConnection) -> None:
    with suppress(ConnectionClosed):
        await websocket.ping()


async def _failure(error: BaseException, endpoint: Endpoint, stream: "_WatchedStream | None") -> HookbotError:
    if isinstance(error, HookbotError):
        return error
    if isinstance(error, ConnectionRejected):
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in error.headers}
        return _refusal(error.status_code, headers, error.body or b"")
    if isinstance(error, trio.TooSlowError):
        return Lost(f"no response within {endpoint.timing.handshake_s:g} s")
    # A status that is known decides, whatever stands behind it.
    refusal = _refusal_in(stream.response) if stream else None
    return refusal or await failure(_NO_WEBSOCKET, _NoResponse("no valid response"), endpoint.address)


def _refusal(status: int, headers: Mapping[str, str], body: bytes) -> HookbotError:
    """The error that the response to a handshake reports."""
    # A hub answers so only to a request that does not ask for a websocket.
    if 200 <= status < 300 or status == 426:
        return UpgradeRequired(_NO_UPGRADE.format(status))
    return error_from(status, headers, body)


def _refusal_in(response: bytes) -> HookbotError | None:
    """The error that a response reports, as far as it has come; None for 101, and if it is no HTTP."""
    head, end, body = response.partition(b"\r\n\r\n")
    status = _STATUS_LINE.match(head)
    if not status or status[1] == b"101":
        return None
    # The last field may not be whole if the head has no end.
    fields = (line.partition(":") for line in head.decode("latin-1").split("\r\n")[1:] if end)
    headers = {name.lower(): value.strip() for name, _, value in fields}
    # Chunks begin with their size, which is no reason.
    return _refusal(int(status[1]), headers, b"" if "transfer-encoding" in headers else body)


def _why_closed(code: int, reason: str | None) -> HookbotError:
    text = one_line(reason or "")
    if code == GONE:
        return Refused(text or "the hub ended the subscription for good")
    cause = _WHY_CLOSED.get(code, f"the hub, or a proxy, closed the connection with code {code}")
    return Lost(f"{cause} ({text})" if text else cause)


class _WatchedStream(trio.abc.Stream):
    """The stream beneath a websocket, with checks that trio-websocket does not make.

    After `silence_s` without a byte, or in which the hub takes none, it is considered gone, even if the connection
    still looks open. A message of more than `max_frame_bytes`, or in endless fragments, is an error.
    Until `handshake_done`, a peer that closes the connection, or whose response is not HTTP, is an error at once;
    trio-websocket would wait for more. Of a refusal, what comes within `_BODY_S` is read.
    """

    def __init__(self, stream: trio.abc.Stream, silence_s: float, max_frame_bytes: int) -> None:
        self.inner = stream
        self.handshake_done = False
        self._silence_s = silence_s
        self._meter = FrameMeter(max_frame_bytes)
        self.response = b""
        self._upgraded = False
        self._body_until = inf

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        with trio.move_on_after(self._silence_s):
            if not self._upgraded:
                return await self._receive_response(max_bytes)
            data = await self.inner.receive_some(max_bytes)
            self._meter.feed(data)
            return data
        raise Lost(f"nothing received from the hub for {self._silence_s:g} s")

    async def _receive_response(self, max_bytes: int | None) -> bytes | bytearray:
        data: bytes | bytearray = b""
        with trio.CancelScope(deadline=self._body_until), suppress(trio.BrokenResourceError):
            data = await self.inner.receive_some(max_bytes)
        self.response += data
        status = _STATUS_LINE.match(self.response)
        _, end, frames = self.response.partition(b"\r\n\r\n")
        if status and status[1] == b"101" and end:
            self._upgraded = True
            self._meter.feed(frames)
        elif status and end:
            self._body_until = min(self._body_until, trio.current_time() + _BODY_S)
        # A successful response may be an endless stream.
        streams = status and status[1].startswith(b"2") and self._body_until < inf
        if not data or streams or len(self.response) > _MAX_RESPONSE_BYTES:
            self._fail_handshake()
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        try:
            with trio.move_on_after(self._silence_s):
                return await self.inner.send_all(data)
        except trio.BrokenResourceError:
            if self.handshake_done:
                raise
            self._fail_handshake()
        raise Lost(f"the hub has not taken what was sent to it for {self._silence_s:g} s")

    async def wait_send_all_might_not_block(self) -> None:
        await self.inner.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await trio.aclose_forcefully(self.inner)
        if not self.handshake_done:
            self._fail_handshake()

    def _fail_handshake(self) -> NoReturn:
        raise _refusal_in(self.response) or _NoResponse
