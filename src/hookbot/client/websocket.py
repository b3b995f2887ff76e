"""One websocket to a hub. Every failure is a `HookbotError`: one of `PASSING` if the client should reconnect."""

import re
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import NoReturn, cast

import h11
import trio
import wsproto.utilities
from trio_websocket import ConnectionClosed, ConnectionRejected, WebSocketConnection, wrap_client_stream

from ..errors import BodyTooLarge, HookbotError, Lost, Refused, first_error
from ..protocol.frames import SUBPROTOCOL
from ..protocol.response import error_from
from ..protocol.websocket import GONE
from ..terminal import one_line
from .address import Address
from .connect import open_stream, proxy_of
from .timing import Timing

# No hub answers a handshake with more.
_MAX_RESPONSE_BYTES = 1 << 20
# With the 4 KiB that are the default of trio-websocket, a backlog would take many more system calls.
_RECEIVE_BYTES = 1 << 16
# trio-websocket does not translate these errors of its parsers.
_PROTOCOL_ERRORS = (h11.ProtocolError, wsproto.utilities.ProtocolError)
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([0-9]{3})")
_NO_WEBSOCKET = "the hub does not answer as a websocket server does"
_WHY_CLOSED = {
    1001: "the hub is shutting down",
    1006: "the connection was cut",
    1008: "the hub ended the subscription",
    1011: "the hub failed",
    1012: "the hub is restarting",
    1013: "the hub asks to try again later",
}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A subscription's address, headers, limits and timing: the same for every connection."""

    address: Address
    # Not in the repr: one of them carries the token.
    headers: Sequence[tuple[bytes, bytes]] = field(repr=False)
    tls: ssl.SSLContext
    max_frame_chars: int
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

        Raises `BodyTooLarge` for a frame over the limit, `Refused` for close code 4001, and `Lost` for any other end.
        """
        try:
            message: str | bytes = await self._websocket.get_message()
        except ConnectionClosed as error:
            if error.reason is None:
                raise Lost("the hub violated the websocket protocol") from None
            if error.reason.code == 1000:
                return None
            raise _why_closed(error.reason.code, error.reason.reason) from None
        return message

    async def send(self, text: str) -> None:
        """Send a text frame. If the connection is closed, raises as `receive` does, but `Lost` for code 1000."""
        try:
            await self._websocket.send_message(text)
        except ConnectionClosed as error:
            # 1006: the connection was lost without a close frame (RFC 6455, section 7.4.1).
            code, reason = (error.reason.code, error.reason.reason) if error.reason else (1006, None)
            raise _why_closed(code, reason) from None

    async def close(self) -> None:
        """Perform the closing handshake (RFC 6455, section 7.1.2).

        The hub has then read everything that was sent, unless the connection breaks meanwhile, which is no error.
        """
        await self._websocket.aclose()


@asynccontextmanager
async def open_connection(endpoint: Endpoint, query: Mapping[str, str]) -> AsyncIterator[HubConnection]:
    """An open websocket. On leaving, the connection is cut; for a closing handshake, call `HubConnection.close` before.

    Raises `Lost`, or the hub's refusal; within the body, too, if the connection fails there.
    """
    timing = endpoint.timing
    failure: HookbotError | None = None
    try:
        async with trio.open_nursery() as nursery:
            proxy = proxy_of(endpoint.address)
            inner = await open_stream(endpoint.address, proxy, endpoint.tls, timing.handshake_s)
            stream = _WatchedStream(inner, timing.silence_s)
            try:
                with trio.fail_after(timing.handshake_s):
                    websocket = await _shake_hands(nursery, stream, endpoint, query)
                nursery.start_soon(_keep_pinging, nursery, websocket, timing.ping_s)
                yield HubConnection(websocket)
            finally:
                # Close before cancelling: afterwards, closing would raise Cancelled in place of the actual error.
                await trio.aclose_forcefully(stream.inner)
                nursery.cancel_scope.cancel()
    except* (HookbotError, ConnectionRejected, trio.TooSlowError, *_PROTOCOL_ERRORS) as group:
        failure = _failure(group, timing)
    # Raised outside of `except*`, which would wrap it into a group again.
    if failure is not None:
        raise failure from None


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
        max_message_size=endpoint.max_frame_chars,
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


def _failure(group: BaseExceptionGroup[BaseException], timing: Timing) -> HookbotError:
    """The first error in the group, as a `HookbotError`."""
    error = first_error(group)
    if isinstance(error, ConnectionRejected):
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in error.headers}
        return error_from(error.status_code, headers, error.body or b"")
    if isinstance(error, _PROTOCOL_ERRORS):
        return Lost(_NO_WEBSOCKET)
    return error if isinstance(error, HookbotError) else Lost(f"no response within {timing.handshake_s:g} s")


def _why_closed(code: int, reason: str | None) -> HookbotError:
    # 1009 comes from our own side: trio-websocket closes the connection when a frame is over the limit.
    if code == 1009:
        return BodyTooLarge("the hub has a message that is larger than this listener accepts: raise max_body_bytes")
    text = one_line(reason or "")
    if code == GONE:
        return Refused(text or "the hub ended the subscription for good")
    cause = _WHY_CLOSED.get(code, f"the hub closed the connection with code {code}")
    return Lost(f"{cause} ({text})" if text else cause)


class _WatchedStream(trio.abc.Stream):
    """The stream beneath a websocket, with two checks that trio-websocket does not make.

    After `silence_s` without a byte, the hub is considered gone, even if the connection still looks open.
    Until `handshake_done`, a peer that closes the connection, or whose response is not HTTP, is an error at once;
    trio-websocket would wait for more.
    """

    def __init__(self, stream: trio.abc.Stream, silence_s: float) -> None:
        self.inner = stream
        self.handshake_done = False
        self._silence_s = silence_s
        self._response = b""

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        with trio.move_on_after(self._silence_s):
            if self.handshake_done:
                return await self.inner.receive_some(max_bytes)
            return await self._receive_response(max_bytes)
        raise Lost(f"nothing received from the hub for {self._silence_s:g} s")

    async def _receive_response(self, max_bytes: int | None) -> bytes | bytearray:
        try:
            data = await self.inner.receive_some(max_bytes)
        except trio.BrokenResourceError:
            data = b""
        self._response += data
        if not data or len(self._response) > _MAX_RESPONSE_BYTES:
            self._fail_handshake()
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        try:
            await self.inner.send_all(data)
        except trio.BrokenResourceError:
            if self.handshake_done:
                raise
            self._fail_handshake()

    async def wait_send_all_might_not_block(self) -> None:
        await self.inner.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await trio.aclose_forcefully(self.inner)
        if not self.handshake_done:
            self._fail_handshake()

    def _fail_handshake(self) -> NoReturn:
        status = _STATUS_LINE.match(self._response)
        if status and status[1] != b"101":
            raise error_from(int(status[1]), {}, b"")
        raise Lost(_NO_WEBSOCKET)
