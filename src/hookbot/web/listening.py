"""Listening sockets, which the fast path or the app's server accepts connections from."""

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
        if isinstance(address, str):
            return f"unix:{address}"
        host, port = address[:2]
        shown = "localhost" if host in ("::", "0.0.0.0") else f"[{host}]" if ":" in host else host  # noqa: S104
        return f"{'https' if self.tls else 'http'}://{shown}:{port}"
