"""Time from the answer to a publish until a listener has the message, who may be connected to another hub."""

import re
import select
import time

from benchmarks.connecting import PATIENCE_S, Connection, Lost, connect
from benchmarks.protocols import Protocol

# As many publishes are under way at once, at most.
PUBLISHERS = 16
RECEIVE_BYTES = 1 << 16
BODY = b"<message %08d>"
NUMBERED = re.compile(rb"<message (\d{8})>")


class Follower:
    """A listener at one port, and connections to publish at another, with the times of what became of the messages."""

    def __init__(self, at: int, listening_at: int, protocol: Protocol, topic: str) -> None:
        self._protocol = protocol
        self._topic = topic
        [self._listener] = connect([listening_at], [protocol.subscribing(topic)])
        self._received = self._listener.early
        self.idle = connect([at], [protocol.publishing(number) for number in range(PUBLISHERS)])
        self._waiting: dict[int, tuple[Connection, int]] = {}
        self._poll = select.epoll()
        for connection in (self._listener, *self.idle):
            self._poll.register(connection.sock, select.EPOLLIN)
        self.answered_at: dict[int, float] = {}
        """Times by the numbers of the messages."""
        self.arrived_at: dict[int, float] = {}

    def publish(self, number: int) -> None:
        """Publish the message with a number, on an idle connection."""
        connection = self.idle.pop()
        connection.sock.sendall(self._protocol.publish(self._topic, BODY % number, number))
        self._waiting[connection.sock.fileno()] = connection, number

    def receive(self, timeout_s: float) -> None:
        """Receive what comes next. Raises `Lost` if a publish is refused."""
        for fd, _ in self._poll.poll(timeout_s):
            if fd not in self._waiting:
                self._hear(self._listener.sock.recv(RECEIVE_BYTES))
                continue
            connection, number = self._waiting.pop(fd)
            if self._protocol.accepted not in connection.sock.recv(RECEIVE_BYTES):
                raise Lost("a publish was refused")
            self.answered_at[number] = time.perf_counter()
            self.idle.append(connection)

    def close(self) -> None:
        """Close all connections."""
        self._poll.close()
        for connection in (self._listener, *self.idle, *(connection for connection, _ in self._waiting.values())):
            connection.sock.close()

    def _hear(self, data: bytes) -> None:
        if not data:
            raise Lost("a subscriber was cut off")
        now, end = time.perf_counter(), 0
        self._received += data
        for found in NUMBERED.finditer(self._received):
            self.arrived_at[int(found[1])], end = now, found.end()
        self._received = self._received[end:]


def lags(at: int, listening_at: int, protocol: Protocol, topic: str, *, rate: float, seconds: float) -> list[float]:
    """Seconds from each answer of the hub at one port to the arrival at a listener of the one at another port.

    Negative if the listener was first. Publishes at a fixed rate, as long as a connection is free.
    """
    follower, total, sent = Follower(at, listening_at, protocol, topic), max(2, int(rate * seconds)), 0
    answered_at, arrived_at = follower.answered_at, follower.arrived_at
    start = time.perf_counter()
    deadline = start + seconds + PATIENCE_S
    try:
        while len(arrived_at) < total or len(answered_at) < total:
            now = time.perf_counter()
            if now > deadline:
                raise Lost("messages do not come to a listener", total - len(arrived_at))
            while follower.idle and sent < total and start + sent / rate <= now:
                follower.publish(sent)
                sent += 1
            follower.receive(max(0.0, start + sent / rate - now) if follower.idle and sent < total else 1.0)
    finally:
        follower.close()
    return [arrived_at[number] - answered_at[number] for number in answered_at]
