"""TLS handshakes of the fast path: one step of one of them at a time, and in between the epoll loop has its turn."""

import logging
import socket
import ssl

import trio

from ...errors import system_reason
from ..tls import Tls
from .connection import FastPathConnection
from .context import Context
from .epoll import READ, WRITE
from .http_connection import connection_bytes

logger = logging.getLogger(__package__)


class Handshake:
    """A connection until its TLS handshake is done, when it becomes a `FastPathConnection`.

    A step takes up to some milliseconds, with a large RSA key: many in a row would hold up the established connections.
    """

    __slots__ = ("_context", "_fd", "_open", "_peer", "_sock", "progressed_at")

    idle = True
    busy = False

    def __init__(self, context: Context, tls: Tls, sock: socket.socket, peer: str) -> None:
        self.progressed_at = trio.current_time()
        self._context = context
        self._sock = tls.wrap(sock)
        self._fd = self._sock.fileno()
        self._peer = peer
        self._open = True
        context.epoll.add(self._fd, self)
        context.connections.add(self)
        context.services.unauthenticated.add(self, peer, connection_bytes(self._sock))

    @property
    def deadline(self) -> float:
        """Time by which the whole handshake has to be done."""
        return self.progressed_at + self._context.limits.slow_s

    def time_out(self) -> None:
        """Close the connection, because the deadline has passed."""
        self.end("timed out in the TLS handshake")

    def end(self, reason: str) -> None:
        """Close the socket now; does nothing if the handshake is over."""
        if self._open:
            logger.debug("a connection ended: %s", reason)
            self._leave()
            self._sock.close()

    def ready(self, events: int) -> None:
        """Get in line for the next step. Called by the epoll loop."""
        # A hang-up or an error, which is reported also while it stands in line: it must not get into it twice.
        if events & ~(READ | WRITE):
            self.end("connection lost in the TLS handshake")
        else:
            self._context.epoll.change(self._fd, 0)
            self._context.start_soon(self._continue)

    async def _continue(self) -> None:
        # Who waits for a lock gets it one after the other, in different steps of Trio's loop.
        async with self._context.handshaking:
            # It may have been ended meanwhile.
            if self._open:
                self._step()

    def _step(self) -> None:
        try:
            self._sock.do_handshake()
        except ssl.SSLWantReadError:
            self._context.epoll.change(self._fd, READ)
        except ssl.SSLWantWriteError:
            self._context.epoll.change(self._fd, WRITE)
        except OSError as error:
            self.end(f"the TLS handshake failed: {system_reason(error)}")
        else:
            self._leave()
            FastPathConnection(self._context, self._sock, self._peer)

    def _leave(self) -> None:
        self._open = False
        self._context.epoll.remove(self._fd)
        self._context.leave(self)
