"""A contestant's subscribers and publishers, in one epoll: the generator."""

import gc
import select
import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .connecting import PATIENCE_S, Lost, connect
from .protocols import Protocol

RECEIVE_BYTES = 1 << 18
STALLED_BUFFER = 4 << 10
STAMP = b"\xffSENT AT\xff"
SAMPLED = 10
"""One subscriber in so many is asked when its messages came."""


class Room:
    """Subscribers of one topic, and connections to publish on it. Counts bytes; looks into none but for latencies."""

    def __init__(
        self, port: int, protocol: Protocol, topic: str, subscribers: int, *, tls: ssl.SSLContext | None = None
    ) -> None:
        self._port = port
        self._protocol = protocol
        self._topic = topic
        self._tls = tls
        self._poll = select.epoll()
        self._buffer = bytearray(RECEIVE_BYTES)
        self._view = memoryview(self._buffer)
        self._subscribers = connect(port, protocol.subscribing(topic), subscribers, tls=tls)
        self._readers = {sock.fileno(): reader(sock) for sock in self._subscribers}
        self._left = [0] * (max(self._readers, default=0) + 1)
        """How many bytes each subscriber still misses, by file descriptor."""
        for fd in self._readers:
            self._poll.register(fd, select.EPOLLIN)
        self._publishers: dict[int, socket.socket] = {}
        self._idle: list[socket.socket] = []
        self._waiting = 0
        """How many subscribers miss something."""
        self._unanswered = 0
        self._stalled: set[int] = set()
        self.refused = 0

    def __enter__(self) -> "Room":
        return self

    def __exit__(self, *exc: object) -> None:
        for sock in self._subscribers:
            sock.close()
        self._poll.close()

    @contextmanager
    def publishers(self, count: int) -> Iterator[None]:
        """Connections to publish on; one publish at a time on each."""
        socks = connect(self._port, self._protocol.publishing(self._topic), count, tls=self._tls)
        for sock in socks:
            sock.setblocking(True)
            self._poll.register(sock, select.EPOLLIN)
        self._publishers = {sock.fileno(): sock for sock in socks}
        self._idle = list(socks)
        gc.collect()
        gc.disable()
        try:
            yield
        finally:
            gc.enable()
            for sock in socks:
                self._poll.unregister(sock)
                sock.close()

    def deliver(self, body: bytes, messages: int) -> None:
        """Publish so many at once, each on its own connection; return when every subscriber has all of them."""
        request = self._protocol.publish(self._topic, body)
        self._expect(messages * self._protocol.delivered(self._topic, body))
        for _ in range(messages):
            self._send(request)
        self._wait()

    def publish_for(self, seconds: float, body: bytes) -> int:
        """Keep every publishing connection busy for so long; returns how many publishes were answered."""
        request = self._protocol.publish(self._topic, body)
        end = time.perf_counter() + seconds
        published = 0
        while time.perf_counter() < end:
            while self._idle:
                self._send(request)
                published += 1
            self._receive(1.0)
        answered = published - self._unanswered
        self._wait()
        return answered

    def pace(self, rate: float, seconds: float, size: int) -> list[float]:
        """Publish on a timetable, and tell for a sample of the deliveries how long after it they came, in seconds.

        A publish that finds no free connection waits, and that counts: the clock runs from the timetable on.
        """
        total = max(1, int(rate * seconds))
        self._expect(total * self._protocol.delivered(self._topic, stamped(0.0, size)))
        sampled = {sock.fileno() for sock in self._subscribers[::SAMPLED]}
        delays: list[float] = []
        start = time.perf_counter() + 0.01
        sent = 0
        deadline = start + seconds + PATIENCE_S
        while self._waiting or self._unanswered:
            while sent < total and self._idle and start + sent / rate <= time.perf_counter():
                self._send(self._protocol.publish(self._topic, stamped(start + sent / rate, size)))
                sent += 1
            self._receive(0.0 if sent < total else 1.0, sampled, delays)
            if time.perf_counter() > deadline:
                raise Lost(f"{self._waiting} subscribers miss messages")
        return delays

    def stall(self, count: int) -> None:
        """The first `count` subscribers take nothing any more. Who takes the rest is not waited for them."""
        for sock in self._subscribers[:count]:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, STALLED_BUFFER)
            self._poll.unregister(sock)
            self._stalled.add(sock.fileno())
            self._left[sock.fileno()] = 0

    def revive(self) -> None:
        """Those who had stalled take what they have missed. Raises `Lost` if that is not everything."""
        self._waiting = len(self._stalled)
        for fd in self._stalled:
            self._poll.register(fd, select.EPOLLIN)
        self._stalled.clear()
        self._wait()

    def _expect(self, size: int) -> None:
        for fd in self._readers:
            self._left[fd] = size + (self._left[fd] if fd in self._stalled else 0)
        self._waiting = len(self._readers) - len(self._stalled)

    def _wait(self) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while self._waiting or self._unanswered:
            self._receive(1.0)
            if time.monotonic() > deadline:
                raise Lost(f"{self._waiting} subscribers miss messages, {self._unanswered} publishes are unanswered")

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
        if answers:
            self._unanswered -= answers
            self._idle += [self._publishers[fd]] * answers
            self.refused += answers - data.count(self._protocol.accepted)


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


def stamped(sent_at: float, size: int) -> bytes:
    """A body that says when it was to be sent."""
    return (STAMP + struct.pack("<d", sent_at)).ljust(size, b".")


def delays_of(data: bytes) -> list[float]:
    """How long ago the messages were to be sent that are in what was received just now."""
    now = time.perf_counter()
    delays = []
    place = data.find(STAMP)
    while 0 <= place <= len(data) - len(STAMP) - 8:
        delays.append(now - struct.unpack_from("<d", data, place + len(STAMP))[0])
        place = data.find(STAMP, place + 1)
    return delays
