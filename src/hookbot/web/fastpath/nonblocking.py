"""Sockets in the epoll loop that never block: what one does not take is kept until it does."""

import socket
from abc import ABC, abstractmethod
from typing import ClassVar

import trio

from ...errors import system_reason
from ..tls import TlsSocket
from .epoll import READ, WRITE, EpollLoop

RECEIVE_BYTES = 16 << 10

# Memory of a connection without what it has buffered, the kernel's share for its socket included.
CONNECTION_BYTES = 4 << 10

# What TLS adds to it at most: while a part of a record is received. Otherwise it is half of that.
TLS_BYTES = 36 << 10


def connection_bytes(sock: socket.socket) -> int:
    """Memory of a connection that has buffered nothing."""
    return CONNECTION_BYTES + TLS_BYTES if isinstance(sock, TlsSocket) else CONNECTION_BYTES


class NonblockingSocket(ABC):
    """A connected socket in the epoll loop. Subclasses implement `received`, `taken` and `gone`.

    Nothing here blocks: bytes that the socket does not take are kept, and sent when it becomes writable. For that, the
    subclass has to `watch` for `WRITE` while it is `stalled`.
    """

    __slots__ = ("_epoll", "_events", "_sock", "_tls", "_unsent", "fd", "moved_at", "open")

    receive_bytes: ClassVar = RECEIVE_BYTES
    """Bytes received at most before the others have their turn."""

    def __init__(self, sock: socket.socket, epoll: EpollLoop) -> None:
        self.fd = sock.fileno()
        self.open = True
        self.moved_at = trio.current_time()
        """Time at which the socket was added, or `transmit` last kept bytes; subclasses may advance it."""
        self._sock = sock
        self._tls = sock if isinstance(sock, TlsSocket) else None
        self._epoll = epoll
        self._events = READ | WRITE if self._pending() else READ
        self._unsent: memoryview | None = None
        epoll.add(self.fd, self, self._events)

    @property
    def stalled(self) -> bool:
        """True while a part of the last `transmit` is waiting for the client to read."""
        return self._unsent is not None

    @abstractmethod
    def received(self, data: bytes) -> None:
        """Called with received bytes; with empty bytes when the client has closed its side."""

    @abstractmethod
    def taken(self) -> None:
        """Called when the socket is writable: one that was `stalled` has taken everything, or there was nothing."""

    @abstractmethod
    def gone(self, reason: str) -> None:
        """Called once, when the socket was closed by `end`."""

    def ready(self, events: int) -> None:
        """Send what is waiting, then receive. Called by the epoll loop."""
        if events & WRITE:
            if self._unsent is not None:
                self.transmit(self._unsent)
            if self.open and self._unsent is None:
                self.taken()
        # Errors and hang-ups are found by reading, too, and `taken` may have closed the socket.
        if not (self.open and (events & ~WRITE or (self._events & READ and self._pending()))):
            return
        try:
            data = self._sock.recv(self.receive_bytes)
        except BlockingIOError:
            return
        except OSError as error:
            self.end(f"connection lost: {system_reason(error)}")
        else:
            self.received(data)
            if self._tls and self.open:
                self.watch(self._events)

    def transmit(self, data: bytes | memoryview, header: bytes = b"") -> None:
        """Send as much as the socket takes and keep the rest; only when not `stalled`. Ends a broken connection.

        A `header` is sent before the data, which is not copied.
        """
        try:
            sent = self._sock.sendmsg((header, data)) if header else self._sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self.end(f"sending failed: {system_reason(error)}")
            return
        if sent == len(header) + len(data):
            self._unsent = None
            return
        self.moved_at = trio.current_time()
        if sent < len(header):
            data, header = header + bytes(data), b""
        self._unsent = memoryview(data)[sent - len(header) :]

    def watch(self, events: int) -> None:
        """Watch for these events; errors and hang-ups are always reported."""
        # No event tells of what is pending; writable is mostly at once.
        if events & READ and self._pending():
            events |= WRITE
        if events != self._events:
            self._events = events
            self._epoll.change(self.fd, events)

    def half_close(self) -> None:
        """Shut down the sending side (SHUT_WR); the client's side can still be read. Ends a broken connection."""
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError as error:
            self.end(f"connection lost: {system_reason(error)}")

    def release(self) -> socket.socket:
        """Leave the epoll loop, and return the socket for another owner."""
        self.open = False
        self._epoll.remove(self.fd)
        return self._sock

    def end(self, reason: str) -> None:
        """Close the socket now, and call `gone`; does nothing if it is closed already."""
        if self.open:
            self.release().close()
            self.gone(reason)

    def _pending(self) -> bool:
        """True if a part of a TLS record is still to be received."""
        return self._tls is not None and self._tls.pending()
