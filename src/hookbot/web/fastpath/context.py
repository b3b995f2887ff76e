"""What the connections at the door share, and who they are."""

import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import trio

from ...access.control import AccessControl
from ...broker.broker import Broker
from ..body import BodyBudget
from .epoll import EpollLoop
from .fanout import Fanout

HandOver = Callable[[socket.socket, bytes], None]
"""Takes a connection over, with what was read of it."""


class ClientConnection(Protocol):
    """A connection, as the door sees it."""

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
    """What lies behind the door, and everybody who is there."""

    broker: Broker
    access: AccessControl
    bodies: BodyBudget
    fanout: Fanout
    epoll: EpollLoop
    hand_over: HandOver
    start_soon: Callable[..., None]
    """Runs what has to wait."""
    slow_s: float
    closing: bool = False
    connections: set[ClientConnection] = field(default_factory=set)
    empty: trio.Event = field(default_factory=trio.Event)

    def leave(self, connection: ClientConnection) -> None:
        """A connection is over, here at least."""
        self.connections.discard(connection)
        if not self.connections:
            self.empty.set()
