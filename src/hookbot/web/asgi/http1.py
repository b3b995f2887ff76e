"""Hypercorn's HTTP/1.1 protocol, mended."""

from dataclasses import replace
from http import HTTPStatus
from math import inf
from typing import Any

import h11
import trio
from hypercorn.events import Closed, RawData, Updated
from hypercorn.protocol.events import Data, Event, Request, Response
from hypercorn.protocol.h11 import STREAM_ID, H11Protocol, H11WSConnection
from hypercorn.protocol.http_stream import HTTPStream

from ...errors import HeadersTooLarge, Refused, RequestTimeout
from ...protocol.request import Request as PlainRequest
from ...protocol.response import error_response
from .config import ServingConfig
from .strict_h11 import StrictConnection, path_and_query, wants_websocket
from .websocket import WebSocketStream


class HTTP1(H11Protocol):
    """One HTTP/1.1 connection.

    Relies on `_handle_events` asking `connection.next_event` and answering a `RemoteProtocolError` by
    `_send_error_response` and `Closed`, on `_maybe_recycle` after each response, and on `stream` being None between.
    """

    config: ServingConfig
    connection: "StrictConnection | _Upgraded"
    stream: "HTTPStream | WebSocketStream | None"

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._limits = self.config.limits
        self._head_by: float | None = trio.current_time() + self._limits.slow_s
        self._body_by: float | None = None
        self.connection = StrictConnection(self._limits.max_head_bytes)

    @property
    def responding(self) -> bool:
        """Whether an HTTP request is being answered."""
        return isinstance(self.stream, HTTPStream)

    def deadline(self) -> float:
        """Until when the peer has to be heard of: a head has to come whole, a body has to go on coming."""
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
        if connection.their_state is not h11.SEND_BODY or connection.client_is_waiting_for_100_continue:
            return inf
        self._body_by = self._body_by or now + self._limits.body_s
        return min(self._body_by, now + self._limits.slow_s)

    async def time_out(self) -> None:
        """Answer half a request by 408, and nothing by nothing."""
        connection = self.connection
        if isinstance(connection, _Upgraded) or connection.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        if connection.their_state is h11.SEND_BODY or connection.trailing_data[0]:
            await self._send_error_response(HTTPStatus.REQUEST_TIMEOUT)

    async def invite_body(self) -> None:
        """Send ``100 Continue`` to a peer that waits for it (trap 13: Hypercorn does before any authorization)."""
        connection = self.connection
        if isinstance(connection, StrictConnection) and connection.client_is_waiting_for_100_continue:
            await self._send_h11_event(h11.InformationalResponse(status_code=HTTPStatus.CONTINUE, headers=[]))
            await self.send(Updated(idle=False))

    async def shut_down(self) -> None:
        """Say 1001 to a websocket, close between requests, let an answer finish (which then says so, and closes)."""
        if isinstance(self.stream, WebSocketStream):
            await self.stream.go_away()
        elif self.stream is None:
            await self.send(Closed())

    async def stream_send(self, event: Event) -> None:
        """Tell the peer when a response is the last one, which Hypercorn does not where the body was not read."""
        if isinstance(event, Response) and event.status_code >= 200 and self._is_last():
            kept = [pair for pair in event.headers if pair[0].lower() != b"connection"]
            event = replace(event, headers=[*kept, (b"connection", b"close")])
        await super().stream_send(event)

    def _is_last(self) -> bool:
        return self.connection.their_state in (None, h11.SEND_BODY) or self.context.terminated.is_set()

    async def _check_protocol(self, event: h11.Request) -> None:
        """Stay with HTTP/1.1 (trap 10: Hypercorn goes on in HTTP/2 on cleartext when asked to)."""

    async def _create_stream(self, request: h11.Request) -> None:
        """As Hypercorn's, with our stream, the raw headers and a target without scheme and host."""
        told = (self.app, self.config, self.context, self.task_group, self.ssl, self.client, self.server)
        if wants_websocket(request) and isinstance(self.connection, StrictConnection):
            self.stream = websocket = WebSocketStream(*told, self.stream_send, STREAM_ID)
            self.connection = _Upgraded(self.connection, websocket)
        else:
            self.stream = HTTPStream(*told, self.stream_send, STREAM_ID)
        version, method = request.http_version.decode(), request.method.decode()
        target = path_and_query(request.target)
        headers = request.headers.raw_items()
        await self.stream.handle(Request(STREAM_ID, headers, version, method, target, self.connection_state))

    async def _send_h11_event(self, event: Any) -> None:
        if self.connection.our_state is not h11.ERROR:  # the app does not know yet that the request was refused
            await super()._send_h11_event(event)

    async def _send_error_response(self, status_code: int) -> None:
        """One sentence, and always 4xx: h11 hints at 501 for a transfer coding that it does not know."""
        self.connection.send_failed()
        response = error_response(_REFUSALS.get(status_code, _MALFORMED), PlainRequest("", b"", ()))
        head = f"HTTP/1.1 {response.status} {HTTPStatus(response.status).phrase}\r\n"
        fields = (*response.headers, ("Content-Length", str(len(response.body))), ("Connection", "close"))
        head += "".join(f"{name}: {value}\r\n" for name, value in fields)
        await self.send(RawData(f"{head}\r\n".encode() + response.body))


class _Upgraded(H11WSConnection):
    """A connection on which a websocket was asked for; frames before the answer are refused (trap 1)."""

    def __init__(self, http: StrictConnection, stream: WebSocketStream) -> None:
        super().__init__(http)
        self._http = http
        self._stream = stream

    @property
    def our_state(self) -> Any:  # type: ignore[override]  # Hypercorn's is always None
        """How far the answer to the handshake is."""
        return self._http.our_state

    def send_failed(self) -> None:
        """Say nothing more."""
        self._http.send_failed()

    def next_event(self) -> Any:
        """What was received, as it is."""
        event = super().next_event()
        if not isinstance(event, Data) or self._stream.handshake.accepted:
            return event
        if self.our_state is h11.SEND_RESPONSE:
            raise h11.RemoteProtocolError("frames before the handshake is answered")
        return h11.NEED_DATA  # it is being answered by a refusal


_MALFORMED = Refused("the request is malformed")
_REFUSALS: dict[int, Refused] = {
    HTTPStatus.REQUEST_TIMEOUT: RequestTimeout("the request did not arrive in time"),
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: HeadersTooLarge("the request line and the headers are too long"),
}
