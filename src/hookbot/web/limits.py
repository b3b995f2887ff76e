"""Limits on connections of untrusted clients, of the app and of the fast path."""

from dataclasses import dataclass

from ..access.rate_limits import Rate
from ..errors import Ended
from ..protocol.http1 import MAX_HEAD_BYTES
from ..protocol.websocket import POLICY_VIOLATION

HALF_CLOSE_S = 1.0
"""Time for a response after the client has closed its side, as ``nc -N`` does. Most clients that do so are gone. On the
fast path only if a signature has to be verified: everything else is answered at once."""

# Of a real client, the most are the fragments of a whole message in small packets, and pings at a tenth of this rate.
NOISE = Rate(2000, 10)
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
    """Time for a TLS handshake; for a whole request head; for each `min_body_bytes` of a body; on the fast path also
    for a client to read a response."""
    min_body_bytes: int = 10 << 10
    """Least progress of a body in `slow_s`, unless it ends: 1 KiB/s. A modem is faster, a sender that holds memory byte
    by byte is not."""
    body_s: float = 300
    """Time for a whole body: 25 MiB in five minutes are 0.7 Mbit/s."""
    unread_s: float = 1
    """Time beyond `slow_s` and `body_s` after which the app's server gives up a body: the handler that reads it gives
    up first, and answers. In HTTP/2 that ends one stream, the server's timeout the whole connection."""
    stall_s: float = 90
    """Time for which a subscriber on the fast path may read nothing of what it was sent; in the app, the time
    for each 64 KiB."""
    max_held_bytes: int = 64 << 20
    """Bytes that wait for all slow subscribers together: those of two messages of 25 MB, or of many smaller ones.
    With what it takes to receive, store and encode another, the hub stays below 400 MB."""
    ping_s: float = 30
    """Interval of pings to a websocket. nginx closes a proxied connection after 60 s without traffic."""
    deaf_s: float = 90
    """Time for which the client of a websocket may send nothing: three pings without a pong."""
    linger_s: float = 2
    """Time for which incoming bytes are discarded after the last response. Closing a socket with bytes unread resets
    the connection, and the client may lose the response (RFC 9112, section 9.6)."""
    max_drained_bytes: int = 64 << 20
    """Bytes discarded in that time; in HTTP/2 fewer. Many clients send a whole body before they read a response:
    this is more than twice the default `--max-body`."""
    close_s: float = 5
    """Time for the client's half of a websocket's closing handshake, on the fast path: some round trips, and what is in
    its buffers. In the app, and at a shutdown, it is `linger_s`."""
    sweep_s: float = 1
    """Interval at which the fast path looks for connections beyond their limits; a timer for each would cost more."""
    sweep_step: int = 1000
    """Subscribers checked between two checkpoints: many thousands in a row would hold up the event loop."""
    grace_s: float = 10
    """Time from the beginning of a shutdown until the remaining connections are cut."""
    settle_s: float = 0.5
    """Time for which a connection has to be idle before a shutdown closes it: some round trips, and longer than a busy
    sender pauses. The next request of one that was in use a moment ago may be under way, and would be lost."""
