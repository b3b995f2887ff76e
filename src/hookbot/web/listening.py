"""Listening sockets, which the fast path or the app's server accepts connections from."""

import os
import socket
from dataclasses import dataclass

from .tls import Tls


@dataclass(frozen=True, slots=True)
class ListeningSocket:
    """A socket that accepts connections, which are encrypted with `tls` if there is one."""

    sock: socket.socket
    tls: Tls | None = None
    kept: bool = False
    """True if another process keeps it open: who waits in its queue then waits for the next hub."""

    @property
    def url(self) -> str:
        """URL of the hub on this machine, for example ``http://127.0.0.1:8080``; ``unix:PATH`` of a Unix socket."""
        address = self.sock.getsockname()
        # An abstract one, which is no file.
        if isinstance(address, bytes):
            return f"unix:{os.fsdecode(address).replace(chr(0), '@', 1)}"
        if isinstance(address, str):
            return f"unix:{address}"
        host, port = address[:2]
        shown = "localhost" if host in ("::", "0.0.0.0") else f"[{host}]" if ":" in host else host  # noqa: S104
        return f"{'https' if self.tls else 'http'}://{shown}:{port}"


def peer_address(address: object) -> str:
    """Address of a client without its port, from that of its socket; empty for a Unix socket, which may be bound."""
    # A dual-stack socket shows an IPv4 client as ::ffff:192.0.2.1.
    return str(address[0]).removeprefix("::ffff:") if isinstance(address, tuple) else ""
