"""One socket in the poller: sends what fits, keeps the rest, reads what comes. Nothing here waits."""

import socket

import trio

from .epoll import READ, WRITE, EpollLoop

RECEIVE_BYTES = 16 << 10
"""At once: so much of the smallest requests, chunks or frames holds the loop for a few milliseconds."""


class NonblockingSocket:
    """A connected socket. Whoever derives from it says what becomes of `received`, `taken` and `gone`."""

    __slots__ = ("_epoll", "_events", "_sock", "_unsent", "fd", "moved_at", "open")

    def __init__(self, sock: socket.socket, epoll: EpollLoop) -> None:
        self.fd = sock.fileno()
        self.open = True
        self.moved_at = trio.current_time()
        """When it last took a part of what waits to be sent; before that, when it began."""
        self._sock = sock
        self._epoll = epoll
        self._events = READ
        self._unsent: memoryview | None = None
        epoll.add(self.fd, self)

    @property
    def stalled(self) -> bool:
        """Whether it has not taken what was sent."""
        return self._unsent is not None

    def received(self, data: bytes) -> None:
        """Something came; nothing at the end."""
        raise NotImplementedError

    def taken(self) -> None:
        """Everything that had to wait has been taken."""
        raise NotImplementedError

    def gone(self, reason: str) -> None:
        """The socket is closed."""
        raise NotImplementedError

    def ready(self, events: int) -> None:
        """Called by the poller."""
        if events & WRITE and self._unsent is not None:
            self.transmit(self._unsent)
            if self.open and self._unsent is None:
                self.taken()
        if self.open and events & ~WRITE:
            self._receive()

    def transmit(self, data: bytes | memoryview) -> None:
        """Send as much as fits and keep the rest; only when not `stalled`. May end it."""
        try:
            sent = self._sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self.end(f"cannot be sent to: {error}")
            return
        if sent == len(data):
            self._unsent = None
            return
        self.moved_at = trio.current_time()
        self._unsent = memoryview(data)[sent:]

    def watch(self, events: int) -> None:
        """Be told of these; errors and hang-ups are always told."""
        if events != self._events:
            self._events = events
            self._epoll.change(self.fd, events)

    def say_no_more(self) -> None:
        """Close our side; what comes can still be read."""
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError as error:
            self.end(f"connection lost: {error}")

    def release(self) -> socket.socket:
        """Let go of the socket, for somebody else to use."""
        self.open = False
        self._epoll.remove(self.fd)
        return self._sock

    def end(self, reason: str) -> None:
        """Close the socket now."""
        if self.open:
            self.release().close()
            self.gone(reason)

    def _receive(self) -> None:
        try:
            data = self._sock.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            self.end(f"connection lost: {error}")
        else:
            self.received(data)
