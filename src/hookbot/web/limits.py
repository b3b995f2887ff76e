"""Limits on untrusted clients: one set for connections, whoever serves them, and a budget for incoming bodies."""

from dataclasses import dataclass
from io import BytesIO

from ..errors import BodyTooLarge, Unavailable
from ..protocol.http1 import MAX_HEAD_BYTES


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Limits on one client, in bytes and seconds: how much it may send, and how long it may take."""

    max_head_bytes: int = MAX_HEAD_BYTES
    max_message_bytes: int = 64 << 10
    """A websocket message from a client."""
    keep_alive_s: float = 75
    """Between two requests on one connection."""
    slow_s: float = 10
    """For a TLS handshake; for a whole request line with its headers; between two pieces of a body."""
    body_s: float = 300
    """For a whole body: 25 MiB in five minutes are 0.7 Mbit/s."""
    stall_s: float = 90
    """Without taking anything of what is being sent."""
    ping_s: float = 30
    """Between two pings to a websocket."""
    deaf_s: float = 90
    """Without sending anything, of a websocket, which has pings to answer."""
    linger_s: float = 2
    """While what a client goes on sending is discarded, so that it can read our last response: to close with bytes
    unread resets the connection, and takes back what was sent (RFC 9112, section 9.6)."""
    grace_s: float = 10
    """From the beginning of a shutdown until what is still open is cut."""


class BodyBudget:
    """Memory for bodies that have not arrived whole: each of them, and all together, are bounded."""

    def __init__(self, max_body_bytes: int, max_receiving_bytes: int) -> None:
        self.max_body_bytes = max_body_bytes
        self.max_receiving_bytes = max_receiving_bytes
        self.receiving_bytes = 0

    def open(self, max_body_bytes: int | None = None) -> "IncomingBody":
        """A new body, perhaps one that may not be as large as others; to be used as a block, or closed."""
        return IncomingBody(self, min(max_body_bytes or self.max_body_bytes, self.max_body_bytes))


class IncomingBody:
    """One body, chunk by chunk, held once in memory."""

    def __init__(self, budget: BodyBudget, max_bytes: int) -> None:
        self._budget = budget
        self._max_bytes = max_bytes
        self._buffer = BytesIO()
        self._size = 0

    def write(self, chunk: bytes | bytearray) -> None:
        """Take a chunk; raises `BodyTooLarge`, or `Unavailable` when all bodies together are too large."""
        budget = self._budget
        if self._size + len(chunk) > self._max_bytes:
            raise BodyTooLarge.than(self._max_bytes)
        if budget.receiving_bytes + len(chunk) > budget.max_receiving_bytes:
            raise Unavailable("too much is being received at once; try again")
        self._size += len(chunk)
        budget.receiving_bytes += len(chunk)
        self._buffer.write(chunk)

    def close(self) -> bytes:
        """The whole body, which no longer counts as being received."""
        self._budget.receiving_bytes -= self._size
        self._size = 0
        return self._buffer.getvalue()

    def __enter__(self) -> "IncomingBody":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
