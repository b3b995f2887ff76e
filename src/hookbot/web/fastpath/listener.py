"""The fast path's listener: accepts connections into the epoll loop, and enforces their deadlines."""

import logging
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, NoReturn

import trio

from ...errors import system_reason
from ..limits import ConnectionLimits
from ..listening import ListeningSocket, peer_address
from ..services import Services
from ..tls import Tls
from ..unauthenticated import ACCEPT_PAUSE_S, NO_ROOM, OUT_OF_FILES, refusal
from .connection import FastPathConnection
from .context import Context, HandOver
from .epoll import READ, EpollLoop
from .fanout import Fanout
from .handshake import Handshake, HandshakeLine

# A reconnect storm must not keep the established connections waiting.
ACCEPTS_PER_ROUND = 64
# At the end: as many as Linux lets wait by default (net.core.somaxconn), and no more if somebody goes on connecting.
LAST_ROUNDS = 4096 // ACCEPTS_PER_ROUND

# Files left to the import of the app, which fails without one; nothing more is accepted until it is made.
SPARED_FILES = 32

logger = logging.getLogger(__package__)


@asynccontextmanager
async def open_fast_path(
    services: Services,
    limits: ConnectionLimits,
    listening: Sequence[ListeningSocket],
    hand_over: HandOver,
    app_made: trio.Event,
    *,
    leave_s: float,
) -> AsyncIterator[None]:
    """Open a fast path that accepts connections from these sockets. Those for the app wait until `app_made` is set.

    When the block ends normally, websockets get a close frame, requests under way are answered, and after `leave_s` the
    remaining connections are cut. After an exception, all of them are cut at once.
    """
    broker = services.broker
    epoll = EpollLoop(broker.line, broker.gather, broker.flush)
    fanout = Fanout(services, epoll, limits)
    fast_path = FastPath(Context(services, fanout, epoll, limits, hand_over, app_made))
    services.connections.update(http=lambda: len(fast_path), websocket=lambda: len(fanout))
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(epoll.run)
            await nursery.start(fanout.run)
            await nursery.start(fast_path.run)
            for one in listening:
                fast_path.listen(one.sock, one.tls, kept=one.kept)
            yield
            deadline = trio.current_time() + leave_s
            async with trio.open_nursery() as closing:
                closing.start_soon(fast_path.close, deadline)
                closing.start_soon(fanout.close, deadline)
            nursery.cancel_scope.cancel()
    finally:
        fast_path.cut()
        fanout.cut()


class FastPath:
    """The HTTP connections of a fast path: accepted, ended if they exceed a deadline, and all ended at a shutdown."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._listeners: list[_Listener] = []

    def __len__(self) -> int:
        return len(self._context.connections)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
        """Enforce the deadlines of the connections until cancelled."""
        async with trio.open_nursery() as nursery:
            self._context.start_soon = nursery.start_soon
            task_status.started()
            while True:
                await trio.sleep(self._context.limits.sweep_s)
                await self._sweep(trio.current_time())

    async def _sweep(self, now: float) -> None:
        connections = self._context.connections
        for connection in tuple(connections):
            if connection.deadline < now and connection in connections:
                connection.time_out()
                # Thousands may be late together, and each is answered.
                await trio.lowlevel.checkpoint()

    def listen(
        self, sock: socket.socket, tls: Tls | None = None, *, kept: bool = False, pause_s: float = ACCEPT_PAUSE_S
    ) -> None:
        """Accept connections from a listening socket, encrypted ones with `tls`, until `close`.

        Pauses when there is no room for them. At the end, who waits in the queue is accepted too, unless it is `kept`.
        """
        self._listeners.append(_Listener(sock, tls, self._context, kept, pause_s))

    async def close(self, deadline: float) -> None:
        """Stop accepting, answer the requests under way, and end what is left at `deadline`.

        Connections that are idle end once they have been for `settle_s`.
        """
        context, settle_s = self._context, self._context.limits.settle_s
        # Before anything is closed: from here on, every response is the last of its connection.
        context.closing = True
        self._stop_accepting()
        with trio.move_on_at(deadline):
            while context.connections:
                self._leave(trio.current_time() - settle_s)
                context.empty = trio.Event()
                with trio.move_on_after(settle_s / 10 if context.connections else 0):
                    await context.empty.wait()
        self.cut()

    def cut(self) -> None:
        """Close everything at once; does nothing to what is closed already."""
        self._stop_accepting()
        for connection in tuple(self._context.connections):
            connection.end("the hub shut down")

    def _leave(self, since: float) -> None:
        for connection in tuple(self._context.connections):
            if connection.idle and connection.progressed_at <= since:
                connection.leave()

    def _stop_accepting(self) -> None:
        for listener in self._listeners:
            listener.close()


class _Listener:
    """A listening socket in the epoll loop."""

    def __init__(self, sock: socket.socket, tls: Tls | None, context: Context, kept: bool, pause_s: float) -> None:
        self._sock = sock
        self._tls = tls
        self._kept = kept
        self._context = context
        self._unauthenticated = context.services.unauthenticated
        self._handshakes = HandshakeLine(context)
        self._pause_s = pause_s
        self._full = False
        self._spared_from = os.sysconf("SC_OPEN_MAX") - SPARED_FILES
        sock.setblocking(False)
        if sock.family != socket.AF_UNIX:
            # Accepted sockets inherit it: one system call here instead of one per connection.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        context.epoll.add(sock.fileno(), self)

    def ready(self, events: int) -> None:
        """Accept the connections that are waiting, at most `ACCEPTS_PER_ROUND` in a row."""
        self._accept_some()

    def close(self) -> None:
        """Close the listening socket, after accepting those in its queue, which would be reset, unless it is kept."""
        if self._open:
            for _ in range(LAST_ROUNDS):
                if self._kept or not self._accept_some():
                    break
            self._context.epoll.remove(self._sock.fileno())
            self._sock.close()

    @property
    def _open(self) -> bool:
        return self._sock.fileno() >= 0

    def _accept_some(self) -> bool:
        """Accept a round of connections; True if more may be waiting."""
        if not self._unauthenticated.has_room():
            self._pause(NO_ROOM)
            return False
        for _ in range(ACCEPTS_PER_ROUND):
            try:
                sock, address = self._sock.accept()
                # IPv4 clients of a dual-stack socket; a Unix socket has no address.
                peer = peer_address(address)
                spared = sock.fileno() >= self._spared_from and not self._context.app_made.is_set()
                self._accept(sock, peer)
                if spared:
                    self._pause("the last files are left to the import of the app", self._context.app_made.wait)
                    return False
                self._full = False
            except BlockingIOError:
                return False
            except OSError as error:
                if error.errno in OUT_OF_FILES and not self._unauthenticated.make_room():
                    self._pause(system_reason(error))
                    return False
                # Otherwise it is an error of the new connection, which is gone already (accept(2)): try the next.
            if self._unauthenticated.full:
                return False
        return True

    def _accept(self, sock: socket.socket, peer: str) -> None:
        try:
            sock.setblocking(False)
            if not self._unauthenticated.admits(peer):
                # With TLS, a response would take a whole handshake.
                if self._tls is None:
                    sock.send(refusal())
                sock.close()
            elif self._tls:
                Handshake(self._context, self._handshakes, self._tls, sock, peer)
            else:
                FastPathConnection(self._context, sock, peer)
        except OSError:
            sock.close()
            raise

    def _pause(self, reason: str, wait: Callable[[], Awaitable[Any]] | None = None) -> None:
        """Leave the waiting connections in the kernel's queue during a `wait`, usually of `pause_s`."""
        # Logged once until a connection is accepted again, not at each attempt.
        if not self._full:
            self._full = True
            logger.warning("no connection can be accepted for now: %s; retrying until one can", reason)
        self._context.epoll.change(self._sock.fileno(), 0)
        self._context.start_soon(self._resume, wait or partial(trio.sleep, self._pause_s))

    async def _resume(self, wait: Callable[[], Awaitable[Any]]) -> None:
        await wait()
        if self._open:
            self._context.epoll.change(self._sock.fileno(), READ)
