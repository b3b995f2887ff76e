"""One epoll of our own for all plain sockets, so that none of them needs a task, and the sockets in it.

Trio waits for the epoll as for any readable file. Only where the platform has epoll (Linux); elsewhere the hub
serves everything through the app.
"""

import select
import socket
from typing import Protocol

import trio

EVENTS_PER_ROUND = 64  # so that no round holds the loop for more than a few milliseconds

RECEIVE_BYTES = 16 << 10
"""At once: so much of the smallest requests, chunks or frames holds the loop for a few milliseconds."""

AVAILABLE = hasattr(select, "epoll")
READ = 0x001  # EPOLLIN, spelled out for platforms that lack the name
WRITE = 0x004  # EPOLLOUT


class Watched(Protocol):
    """Something with a socket in the epoll loop."""

    def ready(self, events: int) -> None:
        """Called when the socket is ready for what was asked, or in error. Must not wait."""


class EpollLoop:
    """The loop that calls `ready` of whatever has a socket that is ready."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._watched: dict[int, Watched] = {}

    def add(self, fd: int, watched: Watched, events: int = READ) -> None:
        """Watch a socket."""
        self._epoll.register(fd, events)
        self._watched[fd] = watched

    def change(self, fd: int, events: int) -> None:
        """Watch for other events; errors and hang-ups are always told."""
        self._epoll.modify(fd, events)

    def remove(self, fd: int) -> None:
        """Stop watching a socket that is not yet closed."""
        del self._watched[fd]
        self._epoll.unregister(fd)

    async def run(self) -> None:
        """Watch until cancelled."""
        with self._epoll:
            while True:
                await trio.lowlevel.wait_readable(self._epoll.fileno())
                for fd, events in self._epoll.poll(0, EVENTS_PER_ROUND):
                    watched = self._watched.get(fd)
                    if watched:  # an earlier one of this round may have removed it
                        watched.ready(events)


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
        """Called by the epoll loop."""
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
