"""The server's side of RFC 6455 on bytes: the handshake's answer, and frames that are encoded once for many.

Frames from a server are not masked (section 5.1), so the same bytes serve every client.
"""

from base64 import b64decode, b64encode
from hashlib import sha1

from ..errors import Refused
from .request import Request

TEXT = 0x1
BINARY = 0x2
CLOSE = 0x8
PING = 0x9
PONG = 0xA

GOING_AWAY = 1001
NO_CODE = 1005
"""Stands for a close frame without a code, and is never sent (section 7.1.5)."""
POLICY_VIOLATION = 1008
TOO_BIG = 1009
INTERNAL_ERROR = 1011
TRY_AGAIN_LATER = 1013
GONE = 4001
"""For private use (section 7.4.2): a cursor or group was taken over or deleted; do not come back by yourself."""

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_MAX_REASON = 123


def is_handshake(request: Request) -> bool:
    """Whether a request asks to become a websocket (section 4.1)."""
    return (
        request.method == "GET"
        and request.header("upgrade").lower() == "websocket"
        and "upgrade" in request.tokens("connection")
    )


def check_handshake(version: str, key: str) -> None:
    """Raises `Refused` unless a handshake is of version 13, with a key that is one (section 4.2.1)."""
    if version != "13":
        raise Refused("this hub speaks version 13 of the websocket protocol")
    try:
        size = len(b64decode(key, validate=True))
    except ValueError:
        size = 0
    if size != 16:
        raise Refused("Sec-WebSocket-Key is 16 bytes in base64")


def accept_handshake(request: Request, subprotocol: str | None) -> bytes:
    """The whole response to a handshake, without permessage-deflate; raises `Refused` if it is malformed."""
    key = request.header("sec-websocket-key")
    check_handshake(request.header("sec-websocket-version"), key)
    accept = b64encode(sha1(key.encode() + _GUID, usedforsecurity=False).digest())
    chosen = f"Sec-WebSocket-Protocol: {subprotocol}\r\n".encode() if subprotocol else b""
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n" + chosen + b"\r\n"
    )


def frame(opcode: int, payload: bytes) -> bytes:
    """One unfragmented, unmasked frame (section 5.2)."""
    size = len(payload)
    if size < 126:
        return bytes((0x80 | opcode, size)) + payload
    if size < 1 << 16:
        return bytes((0x80 | opcode, 126)) + size.to_bytes(2, "big") + payload
    return b"".join((bytes((0x80 | opcode, 127)), size.to_bytes(8, "big"), payload))  # lets others run meanwhile


def close_frame(code: int, reason: str) -> bytes:
    """A close frame; a reason longer than the protocol allows is cut. The answer to one without a code has none."""
    if code == NO_CODE:
        return frame(CLOSE, b"")
    return frame(CLOSE, code.to_bytes(2, "big") + reason.encode()[:_MAX_REASON].decode(errors="ignore").encode())


def is_one_control_frame(data: bytes) -> bool:
    """Whether a client sent exactly one whole ping, pong or close, and nothing else."""
    return (
        len(data) >= 6 and data[0] in (0x88, 0x89, 0x8A) and data[1] & 0x80 != 0 and len(data) == 6 + (data[1] & 0x7F)
    )
