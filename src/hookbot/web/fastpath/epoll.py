"""One nested epoll for all sockets, so that none of them needs a task.

An epoll is itself a file that becomes readable when one of its sockets is ready: Trio waits for that file alone.
Linux only; elsewhere the app serves everything.
"""

import select
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Protocol

import trio

from ...broker.time_slices import Line

# A round of plain publishes holds the loop for a few milliseconds; then Trio's other tasks get their turn.
EVENTS_PER_ROUND = 64

# They get it sooner if what clients send is costly to handle.
ROUND_S = 0.005

# The time that one socket gets of that; what it sent beyond waits until the others had their turn.
TURN_S = 0.0005

AVAILABLE = hasattr(select, "epoll")

# EPOLLIN and EPOLLOUT, in numbers so that this module can be imported on platforms without epoll.
READ = 0x001
WRITE = 0x004


class Watched(Protocol):
    """The owner of a socket in the epoll loop."""

    def ready(self, events: int) -> None:
        """Handle a watched event, an error or a hang-up. Must neither block nor raise."""


class EpollLoop:
    """Event loop that calls `ready` on the owners of ready sockets, at most `EVENTS_PER_ROUND` times in a row.

    After `ROUND_S`, Trio's other tasks run before the next one. Those in `line` then get as much time as the loop has
    taken: so routers do not fall behind those who publish flat out.

    `gather` is called before the events of a turn and `flush` after them, without other tasks in between, so that what
    clients sent is one batch until no more of it has arrived, or others have their turn. They must neither block nor
    raise.
    """

    def __init__(self, line: Line, gather: Callable[[], None], flush: Callable[[], None]) -> None:
        self._line = line
        self._gather = gather
        self._flush = flush
        self._epoll = select.epoll()
        self._watched: dict[int, Watched] = {}

    def add(self, fd: int, watched: Watched, events: int = READ) -> None:
        """Watch a socket. It is level-triggered: an event that was not handled is reported again."""
        self._epoll.register(fd, events)
        self._watched[fd] = watched

    def change(self, fd: int, events: int) -> None:
        """Watch a socket for other events; errors and hang-ups are always reported."""
        self._epoll.modify(fd, events)

    def remove(self, fd: int) -> None:
        """Stop watching a socket. Call it before closing: the next connection may get the same number."""
        del self._watched[fd]
        if not self._epoll.closed:
            self._epoll.unregister(fd)

    async def run(self) -> None:
        """Watch until cancelled."""
        with self._epoll:
            while True:
                await trio.lowlevel.wait_readable(self._epoll.fileno())
                began = perf_counter()
                self._gather()
                # At once, as long as there is more to do: to wait for it costs as much as to handle an event.
                while ready := self._epoll.poll(0, EVENTS_PER_ROUND):
                    began = await self._handle(ready, began)
                self._flush()
                await self._line.let_pass(perf_counter() - began)

    async def _handle(self, ready: Sequence[tuple[int, int]], began: float) -> float:
        """Handle the events of a round, and return when the turn has begun: a new one, if other tasks had theirs."""
        for fd, events in ready:
            # Within the round, because a new one would begin with the same sockets.
            if perf_counter() > began + ROUND_S:
                self._flush()
                await trio.lowlevel.checkpoint()
                await self._line.let_pass(perf_counter() - began)
                began = perf_counter()
                self._gather()
            # Removed meanwhile, or replaced by another socket, to which a needless event does no harm.
            watched = self._watched.get(fd)
            if watched:
                watched.ready(events)
        return began
