"""TLS handshakes of the fast path: in line, so that a storm of them does not hold up established connections."""

import logging
import socket
import ssl
from collections import OrderedDict
from math import inf

import trio

from ...broker.time_slices import TimeSlice
from ...errors import system_reason
from ..tls import HTTP_2, Tls
from .connection import FastPathConnection
from .context import Context
from .epoll import READ, WRITE
from .nonblocking import connection_bytes

logger = logging.getLogger(__package__)


class HandshakeLine:
    """The handshakes that can go on. They have a time slice at a time; a large RSA key takes some for a single step."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._waiting: OrderedDict[Handshake, None] = OrderedDict()
        self._running = False

    def __contains__(self, handshake: "Handshake") -> bool:
        return handshake in self._waiting

    def join(self, handshake: "Handshake") -> None:
        """Let a handshake do its next step, after those of the others."""
        self._waiting[handshake] = None
        if not self._running:
            self._running = True
            self._context.start_soon(self._run)

    def leave(self, handshake: "Handshake") -> None:
        """Forget a handshake, if it is waiting."""
        self._waiting.pop(handshake, None)

    async def _run(self) -> None:
        time_slice = TimeSlice()
        while self._waiting:
            handshake, _ = self._waiting.popitem(last=False)
            handshake.step()
            await time_slice.yield_if_over()
        self._running = False


class Handshake:
    """A connection until its TLS handshake is done, when it becomes a `FastPathConnection`."""

    __slots__ = ("_context", "_joined_at", "_line", "_peer", "_sock", "progressed_at")

    idle = True

    def __init__(self, context: Context, line: HandshakeLine, tls: Tls, sock: socket.socket, peer: str) -> None:
        self.progressed_at = self._joined_at = trio.current_time()
        """Time at which it was accepted, and later by as long as it stood in line."""
        self._context = context
        self._line = line
        self._sock = tls.wrap(sock)
        self._peer = peer
        context.epoll.add(self._sock.fileno(), self)
        context.connections.add(self)
        context.services.unauthenticated.add(self, peer, connection_bytes(self._sock))

    @property
    def busy(self) -> bool:
        """True while it stands in line: the client has done its part."""
        return self in self._line

    @property
    def deadline(self) -> float:
        """Time by which the handshake has to be done, but for its time in line; infinite while it stands there."""
        return inf if self.busy else self.progressed_at + self._context.limits.slow_s

    def time_out(self) -> None:
        """Close the connection, because the deadline has passed."""
        self.end("timed out in the TLS handshake")

    def leave(self) -> None:
        """Close the connection, which can have no request yet."""
        self.end("the hub is shutting down")

    def end(self, reason: str) -> None:
        """Close the socket now; does nothing if the handshake is over."""
        if self in self._context.connections:
            logger.debug("a connection ended: %s", reason, extra={"client": self._peer})
            self._leave()
            self._sock.close()

    def ready(self, events: int) -> None:
        """Get in line for the next step. Called by the epoll loop."""
        # A hang-up or an error, which is reported also while it stands in line.
        if events & ~(READ | WRITE):
            self.end("connection lost in the TLS handshake")
        else:
            self._context.epoll.change(self._sock.fileno(), 0)
            self._joined_at = trio.current_time()
            self._line.join(self)

    def step(self) -> None:
        """Do the next step of the handshake."""
        self.progressed_at += trio.current_time() - self._joined_at
        try:
            self._sock.do_handshake()
        except ssl.SSLWantReadError:
            self._context.epoll.change(self._sock.fileno(), READ)
        except ssl.SSLWantWriteError:
            self._context.epoll.change(self._sock.fileno(), WRITE)
        except OSError as error:
            self.end(f"the TLS handshake failed: {system_reason(error)}")
        else:
            self._leave()
            connection = FastPathConnection(self._context, self._sock, self._peer)
            # The app speaks first in HTTP/2, and refuses whatever else a client sends that has chosen it.
            if self._sock.protocol() == HTTP_2:
                connection.hand_over(b"")

    def _leave(self) -> None:
        self._line.leave(self)
        self._context.epoll.remove(self._sock.fileno())
        self._context.leave(self)
