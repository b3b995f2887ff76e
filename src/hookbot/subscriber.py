"""One websocket whose socket lies in the poller: sends what fits, keeps the rest, reads what the client says."""

import socket
from typing import Protocol

import trio
import wsproto.events
from wsproto.connection import Connection, ConnectionType

from .poller import READ, WRITE, Poller
from .websocket import PING, TOO_BIG, close_frame, frame, is_one_control_frame

RECEIVE_BYTES = 64 << 10
MAX_CLIENT_MESSAGE = 64 << 10


class Owner(Protocol):
    """Who decides what a subscriber is sent."""

    def writable(self, subscriber: "Subscriber") -> None:
        """The subscriber has taken everything that was sent."""

    def gone(self, subscriber: "Subscriber", reason: str) -> None:
        """The connection ended; the socket is closed."""


class Subscriber:
    """A connected client. Nothing here waits: what the socket does not take is kept until it does."""

    __slots__ = (
        "_incoming",
        "_owner",
        "_parser",
        "_poller",
        "_sock",
        "_unsent",
        "busy",
        "catching_up",
        "closing_since",
        "fd",
        "moved_at",
        "open",
        "pinged_at",
        "position",
        "received_at",
        "sent_at",
    )

    def __init__(self, sock: socket.socket, poller: Poller, owner: Owner, position: int) -> None:
        now = trio.current_time()
        self.fd = sock.fileno()
        self.position = position
        self.open = True
        self.busy = False
        """Whether it cannot take a batch now: it has not taken the last one, reads the log, or is leaving."""
        self.catching_up = False
        self.closing_since: float | None = None
        self.received_at = self.moved_at = self.sent_at = self.pinged_at = now
        self._sock = sock
        self._poller = poller
        self._owner = owner
        self._unsent: memoryview | None = None
        self._parser: Connection | None = None
        self._incoming = 0
        poller.add(self.fd, self)

    @property
    def stalled(self) -> bool:
        """Whether it has not taken what was sent."""
        return self._unsent is not None

    @property
    def takes(self) -> bool:
        """Whether more can be sent to it."""
        return self.open and self._unsent is None and self.closing_since is None

    def send(self, data: bytes) -> None:
        """Send whole frames; only when not `stalled`."""
        try:
            sent = self._sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self.end(f"cannot be sent to: {error}")
            return
        self.sent_at = trio.current_time()
        if sent < len(data):
            self.moved_at = self.sent_at
            self._unsent = memoryview(data)[sent:]
            self.busy = True
            self._poller.change(self.fd, READ | WRITE)

    def ping(self) -> None:
        """Ask for a sign of life."""
        self.pinged_at = trio.current_time()
        self.send(frame(PING, b""))

    def close(self, code: int, reason: str) -> None:
        """Say goodbye, and wait for the client's; whoever is stalled cannot be told."""
        if self.closing_since is not None or not self.open:
            return
        if self.stalled:
            self.end(reason)
            return
        self.closing_since = trio.current_time()
        self.busy = True
        self.send(close_frame(code, reason))

    def end(self, reason: str) -> None:
        """Close the socket now."""
        if self.open:
            self.open = False
            self.busy = True
            self._poller.remove(self.fd)
            self._sock.close()
            self._owner.gone(self, reason)

    def ready(self, events: int) -> None:
        """Called by the poller."""
        if events & WRITE:
            self._flush()
        if self.open and events & ~WRITE:
            self._receive()

    def received(self, data: bytes) -> None:
        """Take what the client sent."""
        self.received_at = trio.current_time()
        if self.closing_since is None:
            self._parse(data)
        elif is_one_control_frame(data) and data[0] == 0x88:
            self.end("closed")

    def settle(self) -> None:
        """Be no longer busy, if nothing holds it any more."""
        self.busy = self.catching_up or not self.takes

    def _flush(self) -> None:
        if self._unsent is None:
            return
        try:
            sent = self._sock.send(self._unsent)
        except BlockingIOError:
            return
        except OSError as error:
            self.end(f"cannot be sent to: {error}")
            return
        self.moved_at = self.sent_at = trio.current_time()
        self._unsent = self._unsent[sent:] or None
        if self._unsent is None:
            self._poller.change(self.fd, READ)
            self._owner.writable(self)

    def _receive(self) -> None:
        try:
            data = self._sock.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            self.end(f"connection lost: {error}")
            return
        if not data:
            self.end("disconnected")
            return
        self.received(data)

    def _parse(self, data: bytes) -> None:
        # A whole control frame leaves nothing behind in a parser: who only answers pings has none, and costs no memory.
        parser = self._parser or Connection(ConnectionType.SERVER)
        self._parser = None if self._parser is None and is_one_control_frame(data) else parser
        parser.receive_data(data)
        for event in parser.events():
            self._handle(parser, event)
            if self.closing_since is not None or not self.open:
                return

    def _handle(self, parser: Connection, event: wsproto.events.Event) -> None:
        match event:
            case wsproto.events.Ping() if self.takes:
                self.send(parser.send(event.response()))
            case wsproto.events.Message():
                self._incoming += len(event.data)
                if self._incoming > MAX_CLIENT_MESSAGE:
                    self.close(TOO_BIG, f"a client sends at most {MAX_CLIENT_MESSAGE} bytes in a message")
                elif event.message_finished:
                    self._incoming = 0
            case wsproto.events.CloseConnection():
                self._answer_goodbye(parser, event)

    def _answer_goodbye(self, parser: Connection, event: wsproto.events.CloseConnection) -> None:
        if self.takes:
            self.send(parser.send(event.response()))
        self.end(f"closed by the client: {event.code}")
