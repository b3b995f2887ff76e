"""Hypercorn's HTTP/1.1 protocol, hardened: strict parsing, deadlines, and a response to every refused request."""

from dataclasses import replace
from http import HTTPStatus
from math import inf
from typing import Any

import h11
import trio
from hypercorn.events import Closed, RawData, Updated
from hypercorn.protocol.events import Event, Request, Response
from hypercorn.protocol.h11 import STREAM_ID, H11Protocol, H11WSConnection
from hypercorn.protocol.http_stream import HTTPStream

from ...errors import HookbotError, RequestTimeout
from ...protocol.http1 import encode_response
from ...protocol.request import Request as PlainRequest
from ...protocol.response import error_response
from .. import access_log
from ..listening import peer_address
from .config import RECEIVE_BYTES, ServingConfig
from .extensions import MALFORMED
from .strict_h11 import StrictConnection
from .websocket import WebSocketStream


class HTTP1(H11Protocol):
    """The protocol of one HTTP/1.1 connection.

    Relies on `_handle_events` calling `connection.next_event` and answering a `RemoteProtocolError` with
    `_send_error_response` and `Closed`, on `_maybe_recycle` being called after each response, and on `stream` being
    None between requests.
    """

    config: ServingConfig
    blocked = False
    receive_bytes = RECEIVE_BYTES
    connection: "StrictConnection | _Upgraded"
    stream: "HTTPStream | WebSocketStream | None"

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._limits = self.config.limits
        self.drained_bytes = self._limits.max_drained_bytes
        self._head_by: float | None = trio.current_time() + self._limits.slow_s
        self._body_by: float | None = None
        self.connection = StrictConnection()

    @property
    def responding(self) -> bool:
        """True from the head of a request until its response is complete; False for an accepted websocket."""
        if isinstance(self.stream, WebSocketStream):
            return not self.stream.handshake.accepted
        return self.stream is not None

    def deadline(self) -> float:
        """Time by which the client has to send, on Trio's clock; infinite if nothing is expected of it.

        `slow_s` for a head or a part of a body and `body_s` for a whole body (both with `unread_s`), `keep_alive_s`
        between requests, and `deaf_s` for a websocket.
        """
        now, connection = trio.current_time(), self.connection
        if isinstance(connection, _Upgraded):
            return now + self._limits.deaf_s
        if connection.their_state is h11.IDLE:
            self._body_by = None
            if self._head_by is None and not connection.trailing_data[0]:
                return now + self._limits.keep_alive_s
            self._head_by = self._head_by or now + self._limits.slow_s
            return self._head_by
        self._head_by = None
        # Nothing is expected of a client while the app works, or before it is invited to send the body.
        if connection.their_state is not h11.SEND_BODY or connection.client_is_waiting_for_100_continue:
            return inf
        self._body_by = self._body_by or now + self._limits.body_s
        return min(self._body_by, now + self._limits.slow_s) + self._limits.unread_s

    async def time_out(self) -> None:
        """Answer 408 to an unfinished request whose response has not begun. The caller ends the connection."""
        connection = self.connection
        if isinstance(connection, _Upgraded) or connection.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        if connection.their_state is h11.SEND_BODY or connection.trailing_data[0]:
            await self._refuse(connection, RequestTimeout("the request did not arrive in time"))

    async def invite_body(self) -> None:
        """Let the body be read, and send ``100 Continue`` to a client that waits for it.

        Hypercorn would do both before the client is authorized.
        """
        connection = self.connection
        if not isinstance(connection, StrictConnection):
            return
        # A client that has begun to send its body needs no invitation (RFC 9110, section 10.1.1).
        if connection.client_is_waiting_for_100_continue and not connection.trailing_data[0]:
            await self._send_h11_event(h11.InformationalResponse(status_code=HTTPStatus.CONTINUE, headers=[]))
            await self.send(Updated(idle=False))
        connection.take_body()
        await self.can_read.set()

    async def shut_down(self) -> None:
        """Close a websocket with 1001, or a connection without a request; let a response finish, which is the last."""
        if isinstance(self.stream, WebSocketStream):
            await self.stream.go_away()
        elif self.stream is None:
            await self.send(Closed())

    async def stream_send(self, event: Event) -> None:
        """Send an event, with ``Connection`` in a response where needed. Hypercorn omits it if a body was not read."""
        if isinstance(event, Response) and event.status_code >= 200:
            if isinstance(self.connection, StrictConnection):
                self.connection.skip_body()
            if option := self._connection_option():
                kept = [pair for pair in event.headers if pair[0].lower() != b"connection"]
                event = replace(event, headers=[*kept, (b"connection", option)])
        await super().stream_send(event)
        # The reader waits with the frames that came before this response.
        if isinstance(event, Response) and isinstance(self.connection, _Upgraded):
            await self.can_read.set()

    def _connection_option(self) -> bytes | None:
        connection = self.connection
        if connection.their_state in (None, h11.SEND_BODY, h11.ERROR) or self.context.terminated.is_set():
            return b"close"
        return b"keep-alive" if isinstance(connection, StrictConnection) and connection.keeps_1_0_open else None

    async def _check_protocol(self, event: h11.Request) -> None:
        """Ignore ``Upgrade: h2c``, which Hypercorn would accept: HTTP/2 is for TLS only."""

    async def _create_stream(self, request: h11.Request) -> None:
        """Start a request with our own websocket stream and the raw headers."""
        shared = (self.app, self.config, self.context, self.task_group, self.ssl, self.client, self.server)
        assert isinstance(self.connection, StrictConnection)
        headers = self.connection.fields
        if self.connection.wants_websocket:
            # Of several Connection headers, which are one list, Hypercorn reads the last alone.
            headers = [*headers, (b"connection", b"upgrade")]
            self.stream = websocket = WebSocketStream(*shared, self.stream_send, STREAM_ID)
            self.connection = _Upgraded(self.connection, websocket)
        else:
            self.stream = HTTPStream(*shared, self.stream_send, STREAM_ID)
        version, method = request.http_version.decode(), request.method.decode()
        await self.stream.handle(Request(STREAM_ID, headers, version, method, request.target, self.connection_state))

    async def _send_h11_event(self, event: Any) -> None:
        # After a refusal the app may still be sending: it has not noticed yet.
        if self.connection.our_state is not h11.ERROR:
            await super()._send_h11_event(event)

    async def _send_error_response(self, status_code: int) -> None:
        """Answer a malformed request; if it is the body, let the app answer, which may refuse what came before."""
        connection = self.connection
        assert isinstance(connection, StrictConnection)
        if isinstance(self.stream, HTTPStream):
            event: Any = {"type": MALFORMED, "error": connection.refusal}
            await self.stream.app_put(event)
            while self.stream:
                await self.can_read.clear()
                await self.can_read.wait()
        else:
            await self._refuse(connection, connection.refusal)

    async def _refuse(self, connection: StrictConnection, error: HookbotError) -> None:
        """Answer a refused request with one sentence."""
        # First, so that nothing of the app follows the response.
        connection.send_failed()
        # In the middle of a body, its head is known.
        head = connection.head if connection.their_state is h11.SEND_BODY else None
        sent = (head.request.method, head.request.target, head.request.headers) if head else ("", b"", ())
        request = PlainRequest(*sent, peer_address(self.client))
        self.config.note(request, str(error), error.status)
        response = error_response(error, PlainRequest("", b"", ()))
        access_log.log_response(request, response, None)
        await self.send(RawData(encode_response(response, version="1.1", close=True)))


class _Upgraded(H11WSConnection):
    """The connection after a websocket handshake was received.

    Frames that are sent before the handshake is answered wait for the response; Hypercorn would fail on them.
    """

    def __init__(self, http: StrictConnection, stream: WebSocketStream) -> None:
        super().__init__(http)
        self._http = http
        self._stream = stream

    @property
    def our_state(self) -> Any:  # type: ignore[override]  # Hypercorn's is always None
        """State of h11: the progress of the response to the handshake."""
        return self._http.our_state

    def next_event(self) -> Any:
        """The received bytes; `h11.PAUSED` if they came before the handshake is answered."""
        if self._stream.handshake.accepted or not self.buffer:
            return super().next_event()
        # What the client of a refused handshake sends is ignored.
        return h11.PAUSED if self.our_state is h11.SEND_RESPONSE else h11.NEED_DATA
