"""The load generator: all subscribers and publishers of a contestant, in one epoll."""

import gc
import select
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from benchmarks.connecting import PATIENCE_S, Lost, connect
from benchmarks.protocols import Protocol
from benchmarks.stamps import delays_of, stamped

# Large, so that the generator needs few system calls and stays cheaper than the contestants.
RECEIVE_BYTES = 1 << 18
# Subscribers send nothing else, and servers drop clients that seem dead.
ALIVE_S = 15.0
# epoll rounds its timeout up to milliseconds and may wake late: wait less, and poll for the rest.
EPOLL_STEP_S = 0.002
# Latency is measured at one in ten subscribers, since decoding costs the generator more than receiving.
SAMPLED = 10


class Room:
    """Subscribers of one topic, and connections that publish to it, or to the topic `to`.

    Counts the bytes received and decodes none, except to measure latency: the generator must stay cheaper than the
    contestants. Every method that waits raises `Lost` after a minute without the expected bytes.
    """

    def __init__(
        self,
        port: int,
        protocol: Protocol,
        topic: str,
        subscribers: int,
        *,
        query: str = "",
        to: str = "",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._port = port
        self._protocol = protocol
        self._subscribing = protocol.subscribing(topic, query)
        self._topic = to or topic
        self._tls = tls
        self._poll = select.epoll()
        self._view = memoryview(bytearray(RECEIVE_BYTES))
        self._subscribers: list[socket.socket] = []
        self._readers: dict[int, Callable[[memoryview], int]] = {}
        # Bytes that each subscriber has yet to receive, by file descriptor; negative if it received more than expected.
        self._left: dict[int, int] = {}
        self._stalled: set[int] = set()
        self._publishers: dict[int, socket.socket] = {}
        self._idle: list[socket.socket] = []
        # Number of subscribers that have yet to receive something.
        self._waiting = 0
        self._unanswered = 0
        self._message_size = 0
        self._shown_at = time.monotonic()
        self.refused = 0
        self.join(subscribers)

    def __enter__(self) -> "Room":
        return self

    def __exit__(self, *exc: object) -> None:
        for sock in self._subscribers:
            sock.close()
        self._poll.close()

    def join(self, subscribers: int) -> None:
        """Connect more subscribers."""
        for connection in connect(self._port, self._subscribing, subscribers, tls=self._tls):
            sock, fd = connection.sock, connection.sock.fileno()
            self._subscribers.append(sock)
            self._readers[fd] = reader(sock)
            self._left[fd] = -len(connection.early)
            self._poll.register(fd, select.EPOLLIN)

    @property
    def received(self) -> int:
        """Bytes received by all subscribers, as long as none were expected."""
        return -sum(self._left.values())

    @contextmanager
    def publishers(self, count: int) -> Iterator[None]:
        """Connections to publish on, one publish at a time on each; closed when the block ends."""
        connections = connect(self._port, self._protocol.publishing(self._topic), count, tls=self._tls)
        self._publishers = {connection.sock.fileno(): connection.sock for connection in connections}
        self._idle = list(self._publishers.values())
        for sock in self._idle:
            sock.setblocking(True)
            self._poll.register(sock, select.EPOLLIN)
        self._show_life()
        # A collection in the middle would be measured as latency of the contestant.
        gc.collect()
        gc.disable()
        try:
            yield
        finally:
            gc.enable()
            for sock in self._publishers.values():
                self._poll.unregister(sock)
                sock.close()

    def deliver(self, body: bytes, messages: int) -> None:
        """Publish `messages` messages at once, each on its own connection, and wait until all subscribers have them."""
        request = self._protocol.publish(self._topic, body)
        self._expect(messages, body)
        for _ in range(messages):
            self._send(request)
        self.wait()

    def publish_for(self, seconds: float, body: bytes) -> int:
        """Publish as fast as all connections allow; return the number of messages when all are answered."""
        request = self._protocol.publish(self._topic, body)
        end = time.perf_counter() + seconds
        published = 0
        while time.perf_counter() < end:
            while self._idle:
                self._send(request)
                published += 1
            self._receive(1.0)
        self.wait()
        return published

    def pace(self, rate: float, seconds: float, size: int) -> list[float]:
        """Publish on a schedule, and return the latencies of a sample of the deliveries, in seconds.

        Latency counts from the scheduled time, so that it includes the wait for a free connection ("coordinated
        omission" would hide it).
        """
        total = max(2, int(rate * seconds))
        self._expect(total, stamped(0.0, size))
        sampled = {sock.fileno() for sock in self._subscribers[::SAMPLED]}
        delays: list[float] = []
        start = time.perf_counter() + 0.01
        sent = 0
        while sent < total:
            while sent < total and self._idle and start + sent / rate <= time.perf_counter():
                self._send(self._protocol.publish(self._topic, stamped(start + sent / rate, size)))
                sent += 1
            due_s = start + sent / rate - time.perf_counter()
            self._receive(max(0.0, due_s - EPOLL_STEP_S), sampled, delays)
        self.wait(sampled, delays)
        return delays

    def catch_up(self, size: int) -> None:
        """Wait until every subscriber has received `size` bytes in total."""
        for fd in self._readers:
            self._left[fd] += size
        self._waiting = sum(self._left[fd] > 0 for fd in self._readers)
        self.wait()

    def stall(self) -> None:
        """Stop reading at all present subscribers, and stop waiting for them."""
        for sock in self._subscribers:
            self._poll.unregister(sock)
            self._stalled.add(sock.fileno())

    def revive(self) -> None:
        """Read again at the stalled subscribers, and wait until they have received everything they missed."""
        self._waiting = len(self._stalled)
        for fd in self._stalled:
            self._poll.register(fd, select.EPOLLIN)
        self._stalled.clear()
        self.wait()

    def wait(self, sampled: "set[int] | tuple[()]" = (), delays: list[float] | None = None) -> None:
        """Wait until all subscribers have received everything and all publishes are answered."""
        deadline = time.monotonic() + PATIENCE_S
        while self._waiting or self._unanswered:
            self._receive(1.0, sampled, delays)
            if time.monotonic() > deadline:
                problem = f"{self._waiting} subscribers miss messages, {self._unanswered} publishes are unanswered"
                raise Lost(problem, self._waiting + self._unanswered)

    def _show_life(self) -> None:
        if time.monotonic() - self._shown_at > ALIVE_S:
            self._shown_at = time.monotonic()
            for sock in self._subscribers:
                sock.send(self._protocol.alive)

    def _expect(self, messages: int, body: bytes) -> None:
        self._message_size = self._protocol.delivered(self._topic, body)
        for fd in self._readers:
            self._left[fd] = messages * self._message_size + (self._left[fd] if fd in self._stalled else 0)
        self._waiting = len(self._readers) - len(self._stalled)

    def _send(self, request: bytes) -> None:
        sock = self._idle.pop()
        sock.sendall(request)
        if self._protocol.answer:
            self._unanswered += 1
        else:
            self._idle.insert(0, sock)

    def _receive(
        self, timeout_s: float, sampled: "set[int] | tuple[()]" = (), delays: list[float] | None = None
    ) -> None:
        left, readers, view = self._left, self._readers, self._view
        for fd, _ in self._poll.poll(timeout_s):
            read = readers.get(fd)
            if read is None:
                self._read_answer(fd)
                continue
            size = read(view)
            if not size:
                raise Lost("a subscriber was cut off")
            before = left[fd]
            left[fd] = before - size
            if before > 0 >= before - size:
                self._waiting -= 1
            if fd in sampled and delays is not None:
                delays += delays_of(bytes(view[:size]))

    def _read_answer(self, fd: int) -> None:
        data = self._publishers[fd].recv(RECEIVE_BYTES)
        if not data:
            raise Lost("a publishing connection was cut off")
        answers = data.count(self._protocol.answer) if self._protocol.answer else 0
        refused = answers - data.count(self._protocol.accepted) if answers else 0
        self._unanswered -= answers
        self._idle += [self._publishers[fd]] * answers
        if refused:
            self._expect_less(refused)

    def _expect_less(self, refused: int) -> None:
        self.refused += refused
        for fd in self._readers:
            before = self._left[fd]
            self._left[fd] = before - refused * self._message_size
            if before > 0 >= self._left[fd] and fd not in self._stalled:
                self._waiting -= 1


def reader(sock: socket.socket) -> Callable[[memoryview], int]:
    """Function that receives into a buffer and returns the number of bytes, 0 at the end of the stream."""
    if not isinstance(sock, ssl.SSLSocket):
        return sock.recv_into

    def read(view: memoryview) -> int:
        total = 0
        try:
            # Until it would block: bytes that the TLS layer has buffered do not make the socket readable again.
            while size := sock.recv_into(view[total:]):
                total += size
        except ssl.SSLWantReadError:
            pass
        return total

    return read
