"""One websocket in the epoll loop: what it is sent, what it says, and how it closes."""

import logging
import socket
from typing import Protocol

import trio
import wsproto.events
from wsproto.connection import Connection, ConnectionType

from ...access.active_subscriptions import GRANT_ENDED
from ...access.authorizer import Grant
from ...protocol.websocket import (
    INTERNAL_ERROR,
    PING,
    POLICY_VIOLATION,
    PONG,
    TOO_BIG,
    close_frame,
    frame,
    is_one_control_frame,
)
from ..limits import ConnectionLimits
from .epoll import READ, WRITE, EpollLoop, NonblockingSocket

CLOSE_S = 5.0  # for the client's half of the closing handshake

logger = logging.getLogger("hookbot.subscriber")


class Owner(Protocol):
    """The fan-out, which decides what a subscriber is sent."""

    limits: ConnectionLimits

    def taken(self, subscriber: "Subscriber") -> None:
        """The subscriber, who was stalled, has taken everything that was sent."""

    def gone(self, subscriber: "Subscriber", reason: str) -> None:
        """The connection ended; the socket is closed."""


class Subscriber(NonblockingSocket):
    """A connected client. Nothing here waits: what the socket does not take is kept until it does.

    Closing handshake (RFC 6455, section 7.1): whoever begins it, our side is closed after our close frame, and the
    socket with the client's side.
    """

    __slots__ = (
        *("_incoming", "_owed", "_owner", "_parser", "busy", "catching_up", "closing_since", "grant"),
        *("pinged_at", "position", "received_at", "sent_at"),
    )

    def __init__(self, sock: socket.socket, epoll: EpollLoop, owner: Owner, position: int, grant: Grant) -> None:
        super().__init__(sock, epoll)
        self.position = position
        self.grant = grant
        self.busy = False
        """Whether it cannot take a batch now: it has not taken the last one, reads the log, or is leaving."""
        self.catching_up = False
        self.closing_since: float | None = None
        self.received_at = self.sent_at = self.pinged_at = self.moved_at
        self._owner = owner
        self._owed = b""
        """A control frame that has to wait for the end of what is being sent."""
        self._parser: Connection | None = None
        self._incoming = 0

    @property
    def takes(self) -> bool:
        """Whether more can be sent to it."""
        return self.open and self._unsent is None and self.closing_since is None

    @property
    def heard_at(self) -> float:
        """When there was a sign of life: something came from it, or was taken by it."""
        return max(self.received_at, self.moved_at)

    def overdue(self, now: float) -> str | None:
        """The reason to end it: nothing was taken or heard of it for too long; None if there is none."""
        limits = self._owner.limits
        if self.closing_since is not None:
            return "did not say goodbye" if now - self.closing_since > CLOSE_S else None
        if self.stalled:
            return "stalled" if now - self.moved_at > limits.stall_s else None
        return f"nothing came from it for {limits.deaf_s:.0f} s" if now - self.heard_at > limits.deaf_s else None

    def send(self, data: bytes) -> None:
        """Send whole frames; only when it `takes`."""
        self.sent_at = trio.current_time()
        self._put(data)

    def ping(self) -> None:
        """Ask for a sign of life."""
        self.pinged_at = trio.current_time()
        self._say(frame(PING, b""))

    def close(self, code: int, reason: str) -> None:
        """Send a close frame, as soon as everything before it is taken."""
        if self.closing_since is None and self.open:
            self.closing_since = trio.current_time()
            self.busy = True
            self._parser = None
            self._say(close_frame(code, reason))

    def lose_grant(self) -> None:
        """Close: its token is no longer valid."""
        self.close(POLICY_VIOLATION, GRANT_ENDED)

    def update_busy(self) -> None:
        """Be no longer busy, if nothing keeps it from taking a batch."""
        self.busy = self.catching_up or not self.takes

    def received(self, data: bytes) -> None:
        """Take what the client sent."""
        if not data:
            self.end("disconnected")
            return
        self.received_at = trio.current_time()
        # A whole control frame leaves nothing behind in a parser: who only answers pings has none, and costs no memory.
        alone = self._parser is None and is_one_control_frame(data)
        if self.closing_since is None and not (alone and data[0] & 0xF == PONG):
            parser = self._parser or Connection(ConnectionType.SERVER)
            self._parser = None if alone else parser
            self._parse(parser, data)

    def taken(self) -> None:
        """Called when what it was sent has been taken."""
        owed, self._owed = self._owed, b""
        self._put(owed)
        if self.open and self._unsent is None:
            self.watch(READ)
            self._owner.taken(self)

    def gone(self, reason: str) -> None:
        """Called when the socket is closed."""
        self.busy = True
        self._owner.gone(self, reason)

    def _put(self, data: bytes) -> None:
        self.transmit(data)
        if self._unsent is not None:
            self.busy = True
            self.watch(READ | WRITE)
        elif self.closing_since is not None and self.open:
            self.say_no_more()

    def _say(self, data: bytes) -> None:
        """Send a control frame between two others; of those that have to wait, the last is enough."""
        if self._unsent is None:
            self._put(data)
        else:
            self._owed = data

    def _parse(self, parser: Connection, data: bytes) -> None:
        try:
            parser.receive_data(data)
            for event in parser.events():
                self._handle(event)
                if self.closing_since is not None or not self.open:
                    return
        except Exception:  # an untrusted client's bytes found a bug; the hub has others to serve
            logger.exception("a subscriber's frames could not be read")
            self.close(INTERNAL_ERROR, "the hub failed")

    def _handle(self, event: wsproto.events.Event) -> None:
        match event:
            case wsproto.events.Ping():
                self._say(frame(PONG, bytes(event.payload)))
            case wsproto.events.Message():
                self._incoming += len(event.data.encode() if isinstance(event.data, str) else event.data)
                if self._incoming > self._owner.limits.max_message_bytes:
                    self.close(
                        TOO_BIG, f"a client sends at most {self._owner.limits.max_message_bytes} bytes in a message"
                    )
                elif event.message_finished:
                    self._incoming = 0
            case wsproto.events.CloseConnection():  # a close frame, or what wsproto makes of a violated protocol
                self.close(event.code, event.reason or "")
