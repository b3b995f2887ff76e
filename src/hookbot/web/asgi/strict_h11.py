"""Strict HTTP/1.1: h11's states and responses, with the requests as the fast path reads them.

h11 accepts bare line feeds, folded headers, Content-Length beside Transfer-Encoding, spaces behind the size of a chunk
and more. A proxy in front of the hub may read the same bytes as another request: that is how requests are smuggled
(RFC 9112, section 11.2). `hookbot.protocol.http1` refuses them, on the fast path and here alike.
"""

from contextlib import suppress
from typing import Any

import h11

from ...errors import HookbotError, Refused
from ...protocol.http1 import MAX_HEAD_BYTES, Chunked, Counted, Head, head_end, skip_empty_lines
from ...protocol.websocket import check_handshake, is_handshake


class StrictConnection(h11.Connection):
    """The server's end of an HTTP/1.1 connection, which parses requests by `hookbot.protocol.http1`.

    `next_event` raises `h11.RemoteProtocolError` for a malformed, ambiguous or too long request, and `refusal` is then
    the reason. Relies on h11 choosing its reader of received bytes by `_get_io_object`, on `_receive_buffer` being used
    as a bytearray, and on `_cstate.keep_alive` deciding whether the connection is kept.
    """

    def __init__(self) -> None:
        self.head: Head | None = None
        """Head of the request that is being answered; between two requests, of the one before."""
        self.fields: list[tuple[bytes, bytes]] = []
        """Its headers as sent; h11 would join and change some."""
        self.refusal: HookbotError = Refused("the request ends before it is complete")
        self.holds_body = False
        """True from a head with a body until `take_body` or `skip_body`: so long, the body is not parsed."""
        self._body: Chunked | Counted = Counted(0)
        super().__init__(h11.SERVER, max_incomplete_event_size=MAX_HEAD_BYTES)
        self._receive_buffer: Any = bytearray()

    @property
    def they_are_waiting_for_100_continue(self) -> bool:
        """Always False, because Hypercorn would invite a client before it is authorized.

        `client_is_waiting_for_100_continue` is the true state.
        """
        return False

    @property
    def keeps_1_0_open(self) -> bool:
        """True if the client speaks HTTP/1.0 and the connection is kept, which the response then has to say."""
        return self.their_http_version == b"1.0" and self._cstate.keep_alive

    @property
    def wants_websocket(self) -> bool:
        """True if the request that is being answered is a websocket handshake."""
        return self.head is not None and is_handshake(self.head.request)

    def take_body(self) -> None:
        """Let `next_event` return the body."""
        self.holds_body = False

    def skip_body(self) -> None:
        """Discard the received part of a body that nobody has taken. `their_state` is DONE if that is all of it."""
        if self.holds_body:
            self.holds_body = False
            with suppress(h11.RemoteProtocolError):
                while isinstance(self.next_event(), h11.Data):
                    pass

    def next_event(self) -> Any:
        """The next event of h11; PAUSED while a body is held."""
        if self.holds_body:
            return h11.PAUSED
        event = super().next_event()
        # h11 never keeps a connection of HTTP/1.0 open.
        if isinstance(event, h11.Request) and self.head and self.head.keep_alive:
            self._cstate.keep_alive = True
        return event

    def _get_io_object(self, role: Any, event: Any, io_dict: Any) -> Any:
        if role is h11.CLIENT:
            ours = {h11.IDLE: self._read_head, h11.SEND_BODY: self._read_body, h11.MUST_CLOSE: _discard}
            if reader := ours.get(self.their_state):
                return reader
        return super()._get_io_object(role, event, io_dict)

    def _read_head(self, buffer: bytearray) -> h11.Request | None:
        skip_empty_lines(buffer)
        try:
            size = head_end(buffer)
            if not size:
                return None
            data = bytes(buffer[:size])
            del buffer[:size]
            self.head = head = Head(data)
            self._body = head.body()
            if is_handshake(head.request):
                check_handshake(head)
        except Refused as error:
            raise self._malformed(error) from None
        request = head.request
        self.holds_body = head.has_body
        self.fields = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in request.headers]
        return h11.Request(method=request.method, target=request.target, headers=self.fields, http_version=head.version)

    def _read_body(self, buffer: bytearray) -> h11.Data | h11.EndOfMessage | None:
        parts: list[bytes] = []
        whole = False
        try:
            whole = self._body.take(buffer, parts.append)
        except Refused as error:
            # What came before it first; the parser fails again at the next call.
            if not parts:
                raise self._malformed(error) from None
        if data := b"".join(parts):
            return h11.Data(data=data)
        return h11.EndOfMessage() if whole else None

    def _malformed(self, error: Refused) -> h11.RemoteProtocolError:
        self.refusal = error
        return h11.RemoteProtocolError(str(error), error_status_hint=error.status)


def _discard(buffer: bytearray) -> None:
    """Ignore what follows the last request, as some clients send an empty line there."""
    buffer.clear()
