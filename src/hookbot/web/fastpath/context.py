"""State of the fast path: the context that all connections share, and the exchange that one of them is in."""

import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import trio

from ...access.admitted import AdmittedPublish
from ...errors import Refused
from ...protocol.http1 import Head
from ..limits import BodyBudget, ConnectionLimits, IncomingBody
from ..services import Services
from .epoll import EpollLoop
from .fanout import Fanout

HandOver = Callable[[socket.socket, bytes], None]
"""Takes a connection over, with what was read of it."""


class ClientConnection(Protocol):
    """A connection, as the listener sees it."""

    @property
    def idle(self) -> bool:
        """Whether nothing is under way."""

    @property
    def deadline(self) -> float:
        """Until when something has to come from the client, or to be taken by it."""

    def time_out(self) -> None:
        """The deadline has passed."""

    def end(self, reason: str) -> None:
        """Close it now."""


@dataclass(slots=True, eq=False)
class Context:
    """State that all fast-path connections share."""

    services: Services
    fanout: Fanout
    epoll: EpollLoop
    limits: ConnectionLimits
    hand_over: HandOver
    start_soon: Callable[..., None]
    """Runs what has to wait."""
    closing: bool = False
    connections: set[ClientConnection] = field(default_factory=set)
    empty: trio.Event = field(default_factory=trio.Event)

    def leave(self, connection: ClientConnection) -> None:
        """A connection is over, here at least."""
        self.connections.discard(connection)
        if not self.connections:
            self.empty.set()


@dataclass(frozen=True, slots=True)
class CachedHead:
    """A request head that was admitted: clients that keep a connection mostly repeat it byte for byte."""

    data: bytes
    head: Head
    admitted: AdmittedPublish


class Exchange:
    """A request whose head is here, its body as far as it came, and its response."""

    __slots__ = ("_coming", "admitted", "body", "head")

    def __init__(self, head: Head) -> None:
        self.head = head
        self.admitted: AdmittedPublish | None = None
        self.body: IncomingBody | None = None
        self._coming = head.body()

    def admit(self, admitted: AdmittedPublish, bodies: BodyBudget) -> None:
        """Receive the body of a publish that was admitted."""
        self.admitted = admitted
        self.body = bodies.open(admitted.max_body_bytes)

    def take(self, buffer: bytearray) -> bool:
        """Take what is here of the body; whether that was the rest of it. Raises `Refused` and `Unavailable`."""
        return self.body is not None and self._coming.take(buffer, self.body.write)

    def skip(self, buffer: bytearray) -> bool:
        """Throw away what is here of the body; whether that was the rest of it."""
        try:
            return self._coming.take(buffer, _throw_away)
        except Refused:
            return False

    def close(self) -> None:
        """The body is no longer received."""
        if self.body:
            self.body.close()


def _throw_away(data: bytes) -> None:
    """The sink of a refused request's body."""
