"""Limits on untrusted clients: for connections of the app and of the fast path, and a memory budget for bodies."""

from dataclasses import dataclass
from io import BytesIO

from ..access.rate_limits import Rate
from ..errors import BodyTooLarge, Ended, Unavailable
from ..protocol.http1 import MAX_HEAD_BYTES
from ..protocol.websocket import POLICY_VIOLATION

# Real clients send a ping or a keep-alive every few seconds.
NOISE = Rate(100, 10)
"""Frames from a websocket client that carry no acknowledgement: pings, pongs, parts of a message, other messages."""
TOO_NOISY = Ended(POLICY_VIOLATION, "too many frames that acknowledge nothing")


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Limits on one client connection, in bytes and seconds."""

    max_head_bytes: int = MAX_HEAD_BYTES
    """Size of the request line and the headers together."""
    max_message_bytes: int = 64 << 10
    """Size of a websocket message from a client; clients send only acknowledgements, which are smaller."""
    keep_alive_s: float = 75
    """Idle time between two requests; on the fast path and in HTTP/2 also before the first. Above the 60 s of common
    load balancers, so that they close first: a request sent into a connection that the hub is closing would be lost."""
    slow_s: float = 10
    """Time for a TLS handshake; for a whole request head; between two parts of a body; on the fast path also for a
    client to read a response."""
    body_s: float = 300
    """Time for a whole body, in the app only: 25 MiB in five minutes are 0.7 Mbit/s."""
    stall_s: float = 90
    """Time for which a subscriber on the fast path may read nothing of what it was sent; in the app, the time
    for each 64 KiB."""
    ping_s: float = 30
    """Interval of pings to a websocket. nginx closes a proxied connection after 60 s without traffic."""
    deaf_s: float = 90
    """Time for which the client of a websocket may send nothing: three pings without a pong."""
    linger_s: float = 2
    """Time for which incoming bytes are discarded after the last response. Closing a socket with bytes unread resets
    the connection, and the client may lose the response (RFC 9112, section 9.6)."""
    max_drained_bytes: int = 64 << 20
    """Bytes discarded in that time, on the fast path only. Many clients send a whole body before they read a response:
    this is more than twice the default `--max-body`."""
    close_s: float = 5
    """Time for the client's half of a websocket's closing handshake, on the fast path: some round trips, and what is in
    its buffers. In the app it is `linger_s`."""
    sweep_s: float = 1
    """Interval at which the fast path looks for connections beyond their limits; a timer for each would cost more."""
    sweep_step: int = 1000
    """Subscribers checked between two checkpoints: many thousands in a row would hold up the event loop."""
    grace_s: float = 10
    """Time from the beginning of a shutdown until the remaining connections are cut."""


class BodyBudget:
    """Memory budget for bodies that are being received: bounds each of them, and all of them together."""

    def __init__(self, max_body_bytes: int, max_receiving_bytes: int) -> None:
        self.max_body_bytes = max_body_bytes
        self.max_receiving_bytes = max_receiving_bytes
        self.receiving_bytes = 0

    def open(self, max_body_bytes: int | None = None) -> "IncomingBody":
        """A new body of at most `max_body_bytes`, capped by the budget's. Use it as a context manager, or close it."""
        return IncomingBody(self, min(max_body_bytes or self.max_body_bytes, self.max_body_bytes))


class IncomingBody:
    """A request body that is being received; its chunks are collected in one buffer."""

    def __init__(self, budget: BodyBudget, max_bytes: int) -> None:
        self._budget = budget
        self._max_bytes = max_bytes
        self._buffer = BytesIO()
        self._size = 0

    def write(self, chunk: bytes | bytearray) -> None:
        """Append a chunk. Raises `BodyTooLarge`, or `Unavailable` if all bodies together exceed the budget."""
        budget = self._budget
        if self._size + len(chunk) > self._max_bytes:
            raise BodyTooLarge.than(self._max_bytes)
        if budget.receiving_bytes + len(chunk) > budget.max_receiving_bytes:
            raise Unavailable("the hub is receiving too many request bodies at once; try again")
        self._size += len(chunk)
        budget.receiving_bytes += len(chunk)
        self._buffer.write(chunk)

    def close(self) -> bytes:
        """Return the whole body; its bytes no longer count against the budget. May be called again."""
        self._budget.receiving_bytes -= self._size
        self._size = 0
        return self._buffer.getvalue()

    def __enter__(self) -> "IncomingBody":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
