"""Server side of RFC 6455, on bytes: the handshake, and frames that are encoded once for many subscribers.

Frames from a server are not masked (section 5.1), so the same bytes suit every client.
"""

from base64 import b64decode, b64encode
from collections.abc import Iterable
from hashlib import sha1

from ..errors import Refused
from .http1 import BadRequest, Head
from .request import Request

# Opcodes (section 5.2).
TEXT = 0x1
BINARY = 0x2
CLOSE = 0x8
PING = 0x9
PONG = 0xA

# Close codes (section 7.4.1 and the registry of IANA).
NORMAL = 1000
GOING_AWAY = 1001
NO_CODE = 1005
"""Stands for a close frame without a code; never sent (section 7.1.5)."""
POLICY_VIOLATION = 1008
TOO_BIG = 1009
INTERNAL_ERROR = 1011
TRY_AGAIN_LATER = 1013
GONE = 4001
"""The cursor or group was taken over or deleted, or an operator has ended the subscription: the client should not
reconnect (private code, section 7.4.2)."""

_LISTS = ("connection", "sec-websocket-protocol", "sec-websocket-extensions")
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
# A control frame carries at most 125 bytes (section 5.5), and two are the code.
_MAX_REASON_BYTES = 123


def is_handshake(request: Request) -> bool:
    """True if a request is a websocket handshake (section 4.1), even with an invalid version or key."""
    return (
        request.method == "GET"
        and request.header("upgrade").lower() == "websocket"
        and "upgrade" in request.tokens("connection")
    )


def check_handshake(head: Head) -> None:
    """Check the head of a handshake (section 4.2.1); raises `Refused`."""
    request = head.request
    if head.has_body:
        raise BadRequest("a websocket handshake has no body")
    if not all(request.header(name).isascii() for name in _LISTS):
        raise Refused("the headers of a websocket handshake must be ASCII")
    version, key = request.header("sec-websocket-version"), request.header("sec-websocket-key")
    if version != "13":
        raise Refused(f"Sec-WebSocket-Version must be 13, not {version[:40]!r}")
    try:
        size = len(b64decode(key, validate=True))
    except ValueError:
        size = 0
    if size != 16:
        raise Refused("Sec-WebSocket-Key is not 16 bytes in base64")


def accept_handshake(request: Request, subprotocol: str | None) -> bytes:
    """The response that accepts a checked handshake, without extensions."""
    key = request.header("sec-websocket-key").encode()
    accept = b64encode(sha1(key + _GUID, usedforsecurity=False).digest())
    chosen = f"Sec-WebSocket-Protocol: {subprotocol}\r\n".encode() if subprotocol else b""
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n" + chosen + b"\r\n"
    )


def frame(opcode: int, payload: bytes) -> bytes:
    """One unfragmented, unmasked frame (section 5.2)."""
    # Unlike `+`, bytes.join releases the GIL while it copies a large payload.
    return b"".join((frame_header(opcode, len(payload)), payload))


def frames(opcode: int, payloads: Iterable[bytes]) -> bytes:
    """Many frames like those of `frame`, one after the other."""
    return b"".join([part for payload in payloads for part in (frame_header(opcode, len(payload)), payload)])


def frame_header(opcode: int, size: int) -> bytes:
    """The beginning of a frame, up to its payload of `size` bytes."""
    if size < 126:
        return bytes((0x80 | opcode, size))
    if size < 1 << 16:
        return bytes((0x80 | opcode, 126)) + size.to_bytes(2, "big")
    return bytes((0x80 | opcode, 127)) + size.to_bytes(8, "big")


def close_frame(code: int, reason: str) -> bytes:
    """A close frame. The reason is cut to the 123 bytes that fit; `NO_CODE` makes a frame without code or reason."""
    if code == NO_CODE:
        return frame(CLOSE, b"")
    return frame(CLOSE, code.to_bytes(2, "big") + reason.encode()[:_MAX_REASON_BYTES].decode(errors="ignore").encode())


def is_one_control_frame(data: bytes) -> bool:
    """True if the bytes from a client are exactly one complete ping, pong or close frame."""
    # 0x88 to 0x8A: final close, ping and pong frames. Two bytes of header and four of mask precede the payload.
    return (
        len(data) >= 6 and data[0] in (0x88, 0x89, 0x8A) and data[1] & 0x80 != 0 and len(data) == 6 + (data[1] & 0x7F)
    )
