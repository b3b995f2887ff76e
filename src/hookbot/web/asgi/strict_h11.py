"""Strict HTTP/1.1: h11, without the ambiguous requests that it accepts.

h11 accepts bare line feeds, folded headers, Content-Length beside Transfer-Encoding or twice, and any version with one
digit on each side of the dot. A proxy in front of the hub may read the same bytes as another request: that is how
requests are smuggled (RFC 9112, section 11.2). Here each of them is refused.
"""

import re

import h11

from ...errors import Refused
from ...protocol.http1 import HOST, TARGET
from ...protocol.websocket import check_handshake

_BLANK_LINE = re.compile(rb"\n\r?\n")
_BARE_LF = re.compile(rb"(?<!\r)\n")
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_FOLD = re.compile(rb"\r\n[ \t]")
_LENGTH = re.compile(rb"\ncontent-length:([^\r\n]*)", re.IGNORECASE)


class StrictConnection(h11.Connection):
    """The server's end of an HTTP/1.1 connection; `next_event` raises `h11.RemoteProtocolError` more often than h11's.

    Relies on `trailing_data` being the bytes that were received and not parsed yet.
    """

    def __init__(self, max_header_bytes: int) -> None:
        super().__init__(h11.SERVER, max_incomplete_event_size=max_header_bytes)
        self._max_header_bytes = max_header_bytes

    @property
    def they_are_waiting_for_100_continue(self) -> bool:
        """Always False, because Hypercorn would invite a client before it is authorized.

        `client_is_waiting_for_100_continue` is the true state.
        """
        return False

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        """The next event of h11. Raises `h11.RemoteProtocolError` if a request is malformed, ambiguous or too long."""
        # Before h11 parses: it joins folded headers and drops bare line feeds without a trace.
        if self.their_state is h11.IDLE:
            check_head(self.trailing_data[0], self._max_header_bytes)
        event = super().next_event()
        if isinstance(event, h11.Request):
            check_request(event)
        return event


def check_head(received: bytes, max_bytes: int) -> None:
    """Raise `h11.RemoteProtocolError` if a head, as it was sent and even if incomplete, is ambiguous or too long."""
    end = _BLANK_LINE.search(received)
    head = received[: end.end()] if end else received
    if len(head) > max_bytes:
        raise h11.RemoteProtocolError(
            f"request line and headers are longer than {max_bytes} bytes together", error_status_hint=431
        )
    if _BARE_LF.search(head) or _FOLD.search(head) or _CONTROL.search(head):
        raise h11.RemoteProtocolError("a line feed without carriage return, a folded header or a control character")
    lengths = _LENGTH.findall(head)
    if len(lengths) > 1 or any(b"," in length for length in lengths):
        raise h11.RemoteProtocolError("Content-Length is repeated")


def check_request(request: h11.Request) -> None:
    """Raise `h11.RemoteProtocolError` if a request that h11 has parsed is ambiguous, or a malformed handshake."""
    # h11 has made the names lower-case.
    headers = dict(request.headers)
    chunked = b"transfer-encoding" in headers
    if request.http_version not in (b"1.0", b"1.1") or (chunked and request.http_version == b"1.0"):
        raise h11.RemoteProtocolError("not HTTP/1.1 or 1.0")
    if chunked and b"content-length" in headers:
        raise h11.RemoteProtocolError("Content-Length and Transfer-Encoding together")
    if not HOST.fullmatch(headers.get(b"host", b"").decode("latin-1")) or request.method != request.method.upper():
        raise h11.RemoteProtocolError("not a host, or not a method")
    path_and_query(request.target)
    if wants_websocket(request):
        _check_handshake(request, chunked or headers.get(b"content-length", b"0") != b"0")


def wants_websocket(request: h11.Request) -> bool:
    """True if a request is a websocket handshake (RFC 6455, section 4.1)."""
    tokens = {name: {token.strip() for token in value.lower().split(b",")} for name, value in request.headers}
    upgrades = b"upgrade" in tokens.get(b"connection", ()) and b"websocket" in tokens.get(b"upgrade", ())
    return upgrades and request.method == b"GET"


def path_and_query(target: bytes) -> bytes:
    """Path and query of a request target, which may be a whole URL, as for a proxy (RFC 9112, section 3.2.2).

    Raises `h11.RemoteProtocolError` if it is neither a path nor a URL.
    """
    match = TARGET.fullmatch(target)
    if match is None:
        raise h11.RemoteProtocolError("neither a path nor a URL")
    return match[1]


def _check_handshake(request: h11.Request, has_body: bool) -> None:
    decoded = (value for name, value in request.headers if name.startswith((b"sec-websocket-", b"connection")))
    if has_body or not all(value.isascii() for value in decoded):
        raise h11.RemoteProtocolError("a websocket handshake with a body, or with headers that are not ASCII")
    headers = dict(request.headers)
    version, key = (headers.get(name, b"").decode("ascii") for name in (b"sec-websocket-version", b"sec-websocket-key"))
    if headers[b"upgrade"].lower() != b"websocket":
        raise h11.RemoteProtocolError("not a websocket handshake of RFC 6455")
    try:
        check_handshake(version, key)
    except Refused as error:
        raise h11.RemoteProtocolError(str(error)) from None
