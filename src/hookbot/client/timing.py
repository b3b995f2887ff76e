"""Timing of a listener: its timeouts, and the delays between its connections."""

from collections.abc import Callable
from dataclasses import dataclass

from ..backoff import Backoff


@dataclass(frozen=True, slots=True)
class Timing:
    """Timeouts of a listener in seconds, and the delays between its connections."""

    handshake_s: float = 20.0
    """Timeout of connecting to the proxy, to the hub, of TLS, and of the websocket handshake, each."""
    # A hub sends its hello at once, unless another listener has the cursor.
    hello_s: float = 5.0
    """Time from the handshake after which the client reports `Waiting`, if it has received no hello."""
    ping_s: float = 15.0
    """Interval between pings."""
    # Three heartbeats of a hub, and three of our pings without a pong.
    silence_s: float = 45.0
    """Time without a byte from the hub after which the client reconnects."""
    close_s: float = 2.0
    """Timeout of the last acknowledgements and the closing handshake, on leaving `listen`."""
    backoff: Callable[[], Backoff] = Backoff
    """Factory of the delays between connections."""


DEFAULT_TIMING = Timing()
