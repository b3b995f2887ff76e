"""What a stranger may, and how Hypercorn is told."""

from dataclasses import dataclass
from sys import maxsize

from hypercorn.config import Config


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """How much, and how long, a stranger may. Seconds and bytes."""

    max_header_bytes: int = 32 << 10
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
    deaf_s: float = 90
    """Without sending anything, of whoever is on a websocket and so has pings to answer."""
    linger_s: float = 2
    """While what a client goes on sending is discarded, so that it can read our last word: to close with bytes unread
    resets the connection, and takes back what was sent (RFC 9112, section 9.6)."""
    grace_s: float = 10
    """From the beginning of a shutdown until what is still open is cut."""


class ServingConfig(Config):
    """Hypercorn's configuration for such limits: no access log, no request count, HTTP/1.1 headers as they came."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self.limits = limits
        self.h11_max_incomplete_size = limits.max_header_bytes
        self.h2_max_header_list_size = limits.max_header_bytes
        self.websocket_max_message_size = limits.max_message_bytes
        self.websocket_ping_interval = limits.ping_s
        self.include_server_header = False
        self.keep_alive_max_requests = maxsize
        self.accesslog = self.errorlog = None
