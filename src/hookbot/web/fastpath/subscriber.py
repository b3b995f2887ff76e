"""Subscribers: websockets in the epoll loop, with their pings, control frames and closing handshake."""

import logging
import socket
from typing import TYPE_CHECKING, Protocol

import trio

from ...access.active_subscriptions import Requested
from ...access.admitted import AdmittedSubscription
from ...access.rate_limits import Bucket
from ...errors import Ended
from ...protocol.websocket import (
    INTERNAL_ERROR,
    PING,
    PONG,
    TOO_BIG,
    close_frame,
    frame,
    is_one_control_frame,
)
from ..limits import NOISE, TOO_NOISY, ConnectionLimits
from .epoll import READ, WRITE, EpollLoop
from .nonblocking import NonblockingSocket

if TYPE_CHECKING:
    from wsproto.connection import Connection
    from wsproto.events import Event

# A client of the fan-out sends pongs and little else. To answer so many of the smallest frames takes a millisecond.
RECEIVE_BYTES = 256

logger = logging.getLogger(__package__)


class Owner(Protocol):
    """Interface of the fan-out for its subscribers."""

    limits: ConnectionLimits

    def skip_unwanted(self, subscriber: "Subscriber") -> int:
        """Move a subscriber past messages of other topics, and return its position."""

    def holds(self, subscriber: "Subscriber", rest: memoryview) -> None:
        """Called when a subscriber does not take the end of what was sent, which is kept; may end the subscriber."""

    def taken(self, subscriber: "Subscriber") -> None:
        """Called when a stalled subscriber has taken everything that was sent."""

    def gone(self, subscriber: "Subscriber", reason: str) -> None:
        """Called once, when the subscriber's socket was closed."""


class Subscriber(NonblockingSocket):
    """A websocket of the fan-out, and its position in the log.

    Closing handshake (RFC 6455, section 7.1): whichever side begins it, we half-close after our close frame, and close
    the socket when the client closes its side, or after `close_s`.
    """

    __slots__ = (
        *("_incoming", "_noise", "_owed", "_owner", "_parser", "busy", "catching_up", "client"),
        *(
            "closing_since",
            "grant",
            "number",
            "pinged_at",
            "position",
            "received_at",
            "request",
            "sent_at",
            "since_us",
            "told",
        ),
    )

    receive_bytes = RECEIVE_BYTES

    number: int
    since_us: int

    def __init__(
        self,
        sock: socket.socket,
        epoll: EpollLoop,
        owner: Owner,
        position: int,
        admitted: AdmittedSubscription,
        request: Requested,
    ) -> None:
        """`request`: what many have in common, since the request of each would take more memory."""
        super().__init__(sock, epoll)
        self.position = position
        self.told = 0
        """Position up to which it is known that messages are missing."""
        self.request = request
        self.grant = admitted.grant
        self.client = admitted.client
        self.busy = False
        """True if it cannot take a batch now: it is stalled, catching up, closing or closed. An attribute and not
        computed, because the fan-out checks every subscriber at every batch."""
        self.catching_up = False
        self.closing_since: float | None = None
        self.received_at = self.sent_at = self.pinged_at = self.moved_at
        self._owner = owner
        self._owed = b""
        """Control frame to send after the current message, since it must not be put into the middle of a frame."""
        self._parser: Connection | None = None
        self._incoming = 0
        self._noise: Bucket | None = None

    @property
    def takes(self) -> bool:
        """True if `send` may be called."""
        return self.open and self._unsent is None and self.closing_since is None

    def overdue(self, now: float) -> str | None:
        """The reason to end the connection because it exceeded a limit, or None."""
        limits = self._owner.limits
        if self.closing_since is not None:
            return "did not finish the closing handshake" if now - self.closing_since > limits.close_s else None
        if self._unsent is not None:
            return f"took nothing for {limits.stall_s:.0f} s" if now - self.moved_at > limits.stall_s else None
        # A part of a message that it has read is a sign of life, too.
        heard_at = max(self.received_at, self.moved_at)
        return f"sent nothing for {limits.deaf_s:.0f} s" if now - heard_at > limits.deaf_s else None

    def send(self, data: bytes, header: bytes = b"") -> None:
        """Send whole frames, or the payload of one after its header; only if it `takes`."""
        self.transmit(data, header)
        if self._unsent is not None:
            self.busy = True
            self.watch(READ | WRITE)
            self._owner.holds(self, self._unsent)
        elif self.closing_since is not None and self.open:
            self.half_close()

    def ping(self) -> None:
        """Send a ping, which the client has to answer with a pong."""
        self.pinged_at = trio.current_time()
        self._say(frame(PING, b""))

    def close(self, code: int, reason: str) -> None:
        """Begin or answer the closing handshake: send a close frame after what is being sent. Has no effect twice."""
        if self.closing_since is None and self.open:
            self.closing_since = trio.current_time()
            self.busy = True
            self._parser = None
            self._say(close_frame(code, reason))

    def dismiss(self, reason: Ended) -> None:
        """Close for this reason."""
        self.close(reason.code, str(reason))

    def skip_unwanted(self) -> int:
        """Move past messages of other topics, and return the position up to which it was sent everything."""
        return self._owner.skip_unwanted(self)

    def update_busy(self) -> None:
        """Recompute `busy`."""
        self.busy = self.catching_up or not self.takes

    def received(self, data: bytes) -> None:
        """Answer pings and close frames, and discard messages: a client of the fan-out has nothing to acknowledge.

        Close with 1009 at a message beyond `max_message_bytes`, and with 1008 at more frames than `NOISE`.
        """
        if not data:
            self.end("disconnected")
            return
        self.received_at = trio.current_time()
        # A single whole control frame leaves no state in a parser: a client that only ever sends pongs, as most do, has
        # none, and costs less memory.
        alone = self._parser is None and is_one_control_frame(data)
        if self.closing_since is None and not (alone and data[0] & 0xF == PONG):
            self._parse(data, alone=alone)

    def taken(self) -> None:
        """Send the control frame that had to wait, then let the fan-out continue."""
        self.moved_at = trio.current_time()
        owed, self._owed = self._owed, b""
        self.send(owed)
        # The client may have reset the connection, or filled its buffer once more.
        if self.open and self._unsent is None:  # pragma: no branch - a race
            self.watch(READ)
            self._owner.taken(self)

    def gone(self, reason: str) -> None:
        """Leave the fan-out, after the socket was closed."""
        self.busy = True
        self._owner.gone(self, reason)

    def _say(self, data: bytes) -> None:
        """Send a control frame, or keep it until the current message is sent.

        Of several that are kept, the last is enough: a pong may answer only the latest ping (RFC 6455, section 5.5.3).
        """
        if self._unsent is None:
            self.send(data)
        else:
            self._owed = data

    def _parse(self, data: bytes, *, alone: bool) -> None:
        try:
            parser = self._parser or _new_parser()
            self._parser = None if alone else parser
            parser.receive_data(data)
            for event in parser.events():
                # Counted before it is answered; a frame that came in pieces is counted with the last.
                if getattr(event, "frame_finished", True) and self._is_too_noisy():
                    logger.warning("a subscriber is closed with 1008: %s", TOO_NOISY)
                    self.close(TOO_NOISY.code, str(TOO_NOISY))
                    return
                self._handle(event)
                if self.closing_since is not None or not self.open:
                    return
        # An untrusted client may find a bug in the parser, and must not end the hub with it.
        except Exception:
            logger.exception("frames of a subscriber could not be parsed; its connection is closed with 1011")
            self.close(INTERNAL_ERROR, "the hub failed")

    def _is_too_noisy(self) -> bool:
        self._noise = self._noise or Bucket(NOISE)
        return self._noise.use(now_s=self.received_at) > 0

    def _handle(self, event: "Event") -> None:
        from wsproto import events  # noqa: PLC0415

        match event:
            case events.Ping():
                self._say(frame(PONG, bytes(event.payload)))
            case events.Message():
                self._incoming += len(event.data.encode() if isinstance(event.data, str) else event.data)
                if self._incoming > self._owner.limits.max_message_bytes:
                    limit = self._owner.limits.max_message_bytes
                    self.close(TOO_BIG, f"a message from a client has at most {limit} bytes")
                elif event.message_finished:
                    self._incoming = 0
            # The client's close frame; or, after a protocol error, the code that wsproto chose for ours.
            case events.CloseConnection():
                self.close(event.code, event.reason or "")


def _new_parser() -> "Connection":
    # The app needs it as well, and a thread imports that after the start; most clients only ever send pongs.
    from wsproto.connection import Connection, ConnectionType  # noqa: PLC0415

    return Connection(ConnectionType.SERVER)
