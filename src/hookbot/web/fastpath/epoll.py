"""The poller: one epoll of our own for all plain sockets, so that none of them needs a task.

Trio waits for the epoll as for any readable file. Only where the platform has epoll (Linux); elsewhere the hub
serves everything through the app.
"""

import select
from typing import Protocol

import trio

EVENTS_PER_ROUND = 64  # so that no round holds the loop for more than a few milliseconds

AVAILABLE = hasattr(select, "epoll")
READ = 0x001  # EPOLLIN, spelled out for platforms that lack the name
WRITE = 0x004  # EPOLLOUT


class Watched(Protocol):
    """Something with a socket in the poller."""

    def ready(self, events: int) -> None:
        """Called when the socket is ready for what was asked, or in error. Must not wait."""


class EpollLoop:
    """Calls `ready` of whatever has a socket that is ready."""

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
