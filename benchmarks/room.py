"""A contestant's subscribers and publishers, in one epoll: the generator."""

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

RECEIVE_BYTES = 1 << 18
ALIVE_S = 15.0
EPOLL_STEP_S = 0.002
"""It may wait longer than it is told to, by so much at most."""
SAMPLED = 10
"""One subscriber in so many is asked when its messages came."""


class Room:
    """Subscribers of one topic, and connections to publish on it, or on the topic `to`.

    Counts bytes; looks into none but for latencies.

    Everything that waits raises `Lost` when something does not come within a minute.
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
        self._left: dict[int, int] = {}
        """How many bytes each subscriber still misses."""
        self._stalled: set[int] = set()
        self._publishers: dict[int, socket.socket] = {}
        self._idle: list[socket.socket] = []
        self._waiting = 0
        """How many subscribers miss something."""
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
        """Let more subscribers in."""
        for connection in connect(self._port, self._subscribing, subscribers, tls=self._tls):
            sock, fd = connection.sock, connection.sock.fileno()
            self._subscribers.append(sock)
            self._readers[fd] = reader(sock)
            self._left[fd] = -len(connection.early)
            self._poll.register(fd, select.EPOLLIN)

    @property
    def received(self) -> int:
        """How many bytes came, before any were expected."""
        return -sum(self._left.values())

    @contextmanager
    def publishers(self, count: int) -> Iterator[None]:
        """Connections to publish on; one publish at a time on each."""
        connections = connect(self._port, self._protocol.publishing(self._topic), count, tls=self._tls)
        self._publishers = {connection.sock.fileno(): connection.sock for connection in connections}
        self._idle = list(self._publishers.values())
        for sock in self._idle:
            sock.setblocking(True)
            self._poll.register(sock, select.EPOLLIN)
        self._show_life()
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
        """Publish so many at once, each on its own connection; return when every subscriber has all of them."""
        request = self._protocol.publish(self._topic, body)
        self._expect(messages, body)
        for _ in range(messages):
            self._send(request)
        self.wait()

    def publish_for(self, seconds: float, body: bytes) -> int:
        """Keep every publishing connection busy for so long; returns, when all are answered, how many that were."""
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
        """Publish on a timetable, and tell for a sample of the deliveries how long after it they came, in seconds.

        A publish that finds no free connection waits, and that counts: the clock runs from the timetable on.
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
        """Return when every subscriber has got so many bytes in all."""
        for fd in self._readers:
            self._left[fd] += size
        self._waiting = sum(self._left[fd] > 0 for fd in self._readers)
        self.wait()

    def stall(self) -> None:
        """Who is here takes nothing any more; nobody waits for them."""
        for sock in self._subscribers:
            self._poll.unregister(sock)
            self._stalled.add(sock.fileno())

    def revive(self) -> None:
        """Those who had stalled take what they have missed; return when that is everything."""
        self._waiting = len(self._stalled)
        for fd in self._stalled:
            self._poll.register(fd, select.EPOLLIN)
        self._stalled.clear()
        self.wait()

    def wait(self, sampled: "set[int] | tuple[()]" = (), delays: list[float] | None = None) -> None:
        """Return when nobody misses anything, and every publish is answered."""
        deadline = time.monotonic() + PATIENCE_S
        while self._waiting or self._unanswered:
            self._receive(1.0, sampled, delays)
            if time.monotonic() > deadline:
                what = f"{self._waiting} subscribers miss messages, {self._unanswered} publishes are unanswered"
                raise Lost(what, self._waiting + self._unanswered)

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
    """A function that takes what there is, and says how much that was: 0 at the end."""
    if not isinstance(sock, ssl.SSLSocket):
        return sock.recv_into

    def read(view: memoryview) -> int:
        total = 0
        try:
            while size := sock.recv_into(view[total:]):  # what the TLS layer holds back makes no socket readable
                total += size
        except ssl.SSLWantReadError:
            pass
        return total

    return read
