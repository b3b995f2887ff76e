"""Hypercorn's configuration, made from the hub's limits."""

from sys import maxsize

from hypercorn.config import Config

from ..limits import ConnectionLimits
from ..unauthenticated import Note

# Bytes received at once. They are parsed without a pause, which takes tens of milliseconds if they are all tiny frames.
RECEIVE_BYTES = 16 << 10


class ServingConfig(Config):
    """Hypercorn's configuration for the given limits, with its logs off; `note` is told of what no app answers."""

    def __init__(self, limits: ConnectionLimits, note: Note) -> None:
        self.limits = limits
        self.note = note
        self.h11_max_incomplete_size = limits.max_head_bytes
        self.h2_max_header_list_size = limits.max_head_bytes
        self.websocket_max_message_size = limits.max_message_bytes
        self.websocket_ping_interval = limits.ping_s
        self.include_server_header = False
        # Connections end by `ConnectionLimits.keep_alive_s`, not after a number of requests.
        self.keep_alive_max_requests = maxsize
        self.accesslog = self.errorlog = None
