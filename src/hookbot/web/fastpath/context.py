"""State of the fast path: the context that connections share, and the exchange of a request and its response."""

import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import trio

from ...access.admitted import AdmittedPublish
from ...errors import Refused
from ...protocol.http1 import Chunked, Counted, Head
from ...protocol.message import Duplicate, Message
from ...protocol.response import Response, stored_response
from .. import access_log
from ..bodies import IncomingBody
from ..limits import ConnectionLimits
from ..services import Services
from ..unauthenticated import UnauthenticatedConnection
from .epoll import EpollLoop
from .fanout import Fanout

HandOver = Callable[[socket.socket, bytes], None]
"""Callback that takes over a socket, with the bytes that were already read from it."""


class ClientConnection(UnauthenticatedConnection, Protocol):
    """A client connection, as the listener sees it."""

    @property
    def idle(self) -> bool:
        """True while no request is under way."""

    @property
    def deadline(self) -> float:
        """Time by which the client has to send or read something, on Trio's clock; infinite while the hub works."""

    def time_out(self) -> None:
        """Answer 408 or close, because the deadline has passed."""

    def leave(self) -> None:
        """Close an idle connection, unless a request has come that was not read yet."""


@dataclass(slots=True, eq=False)
class Context:
    """State that all connections of a fast path share."""

    services: Services
    fanout: Fanout
    epoll: EpollLoop
    limits: ConnectionLimits
    hand_over: HandOver
    app_made: trio.Event
    """Set when `hand_over` may be called: the app is imported while the fast path serves."""
    start_soon: Callable[..., None] = field(init=False)
    """Function that starts a task for work that has to wait; there is one while the fast path runs."""
    closing: bool = False
    connections: set[ClientConnection] = field(default_factory=set)
    empty: trio.Event = field(default_factory=trio.Event)

    def leave(self, connection: ClientConnection) -> None:
        """Forget a connection that was closed, handed over, or made a subscriber."""
        self.connections.discard(connection)
        self.services.unauthenticated.remove(connection)
        if not self.connections:
            self.empty.set()


# The rest of a body that came whole.
NOTHING = Counted(0)


class Exchange:
    """A request from its head to its response: the body that was received so far, and the rest that is expected."""

    __slots__ = ("_rest", "admitted", "began_s", "body", "head", "verifying")

    def __init__(self, head: Head) -> None:
        self.head = head
        self.began_s = access_log.began()
        """Time at which its head had come, for the access log; None if it is not to be logged."""
        self.admitted: AdmittedPublish | None = None
        """The publish, once it is admitted, whose body is received."""
        self.body: IncomingBody | None = None
        self.verifying: trio.CancelScope | None = None
        """Scope of the task that verifies the whole body, and then stores it; None if there is none."""
        self._rest: Counted | Chunked | None = None
        """Reader of the rest of the body; None if it was not begun."""

    @property
    def receiving(self) -> IncomingBody | None:
        """The body that is received in parts, or None."""
        return self.body if self._rest and self._rest is not NOTHING else None

    def take(self, buffer: bytearray) -> bytes | None:
        """Move the received part of the body out of the buffer, and return the whole body once it has come.

        Raises `Refused` if the body is too large or malformed, and the errors of `BodyBudget.hold`.
        """
        body, length = self.body, self.head.length
        if body is None:
            return None
        if self._rest is None:
            if not self.head.chunked and len(buffer) >= length:
                whole = bytes(buffer[:length])
                del buffer[:length]
                self._rest = NOTHING
                body.hold(length)
                return whole
            body.begin()
            self._rest = self.head.body()
        return body.whole() if self._rest.take(buffer, body.write) else None

    def skip(self, buffer: bytearray) -> bool:
        """Discard the received part of a refused body; True at its end, False if more is to come or it is malformed."""
        rest = self._rest or self.head.body()
        try:
            return rest.take(buffer, _discard)
        except Refused:
            return False

    def log(self, outcome: Message | Duplicate | Response) -> None:
        """Log the request and what it is answered with, which is a response or what became of the publish."""
        request = self.head.request
        if not isinstance(outcome, Response):
            outcome = stored_response(outcome, json=request.accepts_json)
        access_log.log_response(request, outcome, self.began_s)

    def close(self) -> None:
        """Give the bytes of the body back to the budget. Then it may be that of another request that came whole."""
        self._rest = NOTHING
        if self.body:
            self.body.close()


def _discard(data: bytes) -> None:
    """Ignore a part of a refused body."""
