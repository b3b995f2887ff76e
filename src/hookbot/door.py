"""The door: accepts plain HTTP/1.1 connections, and keeps them in the poller.

Publishes and websocket handshakes are answered here; anything else goes on, with what was read of it,
to the app. Both ask the same gate and give the same answers.
"""

import errno
import logging
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import trio

from .broker import Broker
from .connection import Connection
from .fanout import Fanout
from .gate import Gate
from .intake import Intake
from .poller import Poller

ACCEPTS_PER_ROUND = 64
OUT_OF_FILES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
OUT_OF_FILES_PAUSE_S = 0.2
IDLE_S = 75.0
SWEEP_S = 1.0

logger = logging.getLogger(__name__)

HandOn = Callable[[socket.socket, bytes], None]
"""Takes a connection over, with what was read of it."""


class Door:
    """Everything that a connection needs, and all connections."""

    def __init__(
        self,
        broker: Broker,
        gate: Gate,
        intake: Intake,
        fanout: Fanout,
        poller: Poller,
        hand_on: HandOn,
        *,
        slow_s: float,
    ) -> None:
        self.broker = broker
        self.gate = gate
        self.intake = intake
        self.fanout = fanout
        self.poller = poller
        self.hand_on = hand_on
        self.connections: set[Connection] = set()
        self.closing = False
        self._slow_s = slow_s
        self._listeners: list[_Listener] = []
        self._nursery: trio.Nursery | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """End connections that are too slow, until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            while True:
                await trio.sleep(SWEEP_S)
                self._sweep()

    def listen(self, sock: socket.socket) -> None:
        """Accept connections from a listening socket."""
        self._listeners.append(_Listener(self, sock))

    def start_soon(self, function: Callable[..., Awaitable[Any]], *args: Any) -> None:
        """Run what has to wait."""
        if self._nursery:
            self._nursery.start_soon(function, *args)

    async def close(self, deadline: float) -> None:
        """Accept no more, answer what was sent whole, and end everything until `deadline`."""
        self.closing = True
        for listener in self._listeners:
            listener.close()
        while self.connections and trio.current_time() < deadline:
            for connection in tuple(self.connections):
                if connection.idle:
                    connection.end()
            await trio.sleep(0.01)
        for connection in tuple(self.connections):
            connection.end()

    def _sweep(self) -> None:
        now = trio.current_time()
        for connection in tuple(self.connections):
            if connection.waiting:
                continue
            if connection.idle:
                if now - connection.moved_at > IDLE_S:
                    connection.end()
            elif now - connection.moved_at > self._slow_s:
                connection.give_up()


class _Listener:
    """A listening socket in the poller."""

    def __init__(self, door: Door, sock: socket.socket) -> None:
        self._door = door
        self._sock = sock
        self._open = True
        sock.setblocking(False)
        door.poller.add(sock.fileno(), self)

    def ready(self, events: int) -> None:
        """Called by the poller."""
        for _ in range(ACCEPTS_PER_ROUND):
            try:
                sock, address = self._sock.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in OUT_OF_FILES:
                    self._pause(error)
                    return
                continue  # that one has gone again (accept(2): network errors of the new socket)
            sock.setblocking(False)
            if sock.family != socket.AF_UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._door.connections.add(Connection(self._door, sock, address[0] if address else ""))

    def close(self) -> None:
        """Accept no more."""
        if self._open:
            self._open = False
            self._door.poller.remove(self._sock.fileno())
            self._sock.close()

    def _pause(self, error: OSError) -> None:
        """Out of file descriptors: what waits to be accepted goes on waiting."""
        logger.warning("no connection can be accepted for now: %s", error.strerror)
        self._door.poller.change(self._sock.fileno(), 0)
        self._door.start_soon(self._resume)

    async def _resume(self) -> None:
        await trio.sleep(OUT_OF_FILES_PAUSE_S)
        if self._open:
            self._door.poller.change(self._sock.fileno(), 1)
