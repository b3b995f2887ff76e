"""The load generator: all subscribers and publishers of a contestant, in one epoll."""

import gc
import select
import socket
import ssl
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from benchmarks.connecting import PATIENCE_S, Lost, connect
from benchmarks.protocols import Protocol
from benchmarks.receiving import MessageCounter
from benchmarks.stamps import delays_of
from benchmarks.supply import Request, Supply

# Large, so that the generator needs few system calls and stays cheaper than the contestants.
RECEIVE_BYTES = 1 << 18
# Publishers wait for their answers, so that this is free for each request, and never blocks.
SEND_BYTES = 1 << 20
# Subscribers send nothing else, and servers drop clients that seem dead.
ALIVE_S = 15.0
# epoll rounds its timeout up to milliseconds and may wake late: wait less, and poll for the rest.
EPOLL_STEP_S = 0.002
# Latency is measured at one in ten subscribers, since decoding costs the generator more than receiving.
SAMPLED = 10


@dataclass
class Publisher:
    """A connection to publish on, with the last request and the time of its sending."""

    sock: socket.socket
    number: int
    request: Request | None = None
    sent_at: float = 0.0


@dataclass
class Published:
    """Outcomes of messages that were published: times in seconds, in the order of their ends."""

    messages: int = 0
    answered_s: list[float] = field(default_factory=list)
    """From sending each publish to its answer."""
    delivered_s: list[float] = field(default_factory=list)
    """From the time of sending, or the scheduled one, to the arrival at one in `SAMPLED` subscribers."""


class Room:
    """A subscriber for each of the topics, which may repeat, and connections that publish.

    Counts the bytes received and decodes none, except to measure latency, or to count messages: the generator must
    stay cheaper than the contestants. Every method that waits raises `Lost` after a minute without what is expected.
    Either kind of connection can be spread over several ports, of hubs with one log.
    """

    def __init__(
        self,
        port: int,
        protocol: Protocol,
        topics: Sequence[str],
        *,
        query: str = "",
        tls: ssl.SSLContext | None = None,
        counts_messages: bool = False,
        subscribe_at: Sequence[int] = (),
        publish_at: Sequence[int] = (),
    ) -> None:
        self._subscribe_at = subscribe_at or [port]
        self._publish_at = publish_at or [port]
        self._protocol = protocol
        self._query = query
        self._tls = tls
        self._counts_messages = counts_messages
        self._poll = select.epoll()
        self._view = memoryview(bytearray(RECEIVE_BYTES))
        self._subscribers: dict[int, socket.socket] = {}
        self._audiences: defaultdict[str, list[int]] = defaultdict(list)
        self._readers: dict[int, Callable[[memoryview], int]] = {}
        self._counters: dict[int, MessageCounter] = {}
        # What each subscriber has yet to receive, by file descriptor; negative if it received more than expected.
        self._left: dict[int, int] = {}
        self._stalled: set[int] = set()
        self._sampled: frozenset[int] = frozenset()
        self._publishers: dict[int, Publisher] = {}
        self._idle: list[Publisher] = []
        # Number of subscribers that have yet to receive something.
        self._waiting = 0
        self._unanswered = 0
        self._shown_at = time.monotonic()
        self._published = Published()
        self.refused = 0
        # By all subscribers together.
        self.received = 0
        self.join(topics)

    def __enter__(self) -> "Room":
        return self

    def __exit__(self, *exc: object) -> None:
        for sock in self._subscribers.values():
            sock.close()
        self._poll.close()

    def join(self, topics: Sequence[str]) -> None:
        """Connect more subscribers."""
        dialogues = (self._protocol.subscribing(topic, self._query) for topic in topics)
        for topic, connection in zip(topics, connect(self._subscribe_at, dialogues, tls=self._tls), strict=True):
            sock, fd = connection.sock, connection.sock.fileno()
            self._subscribers[fd] = sock
            self._audiences[topic].append(fd)
            # Over TLS, one record at a time: the socket stays readable as long as there is another.
            self._readers[fd] = sock.recv_into
            if self._counts_messages:
                self._counters[fd] = MessageCounter()
            early = self._units(fd, connection.early)
            self.received += early
            self._left[fd] = -early
            self._poll.register(fd, select.EPOLLIN)

    @contextmanager
    def publishers(self, count: int) -> Iterator[None]:
        """Connections to publish on, one publish at a time on each; closed when the block ends."""
        dialogues = [self._protocol.publishing(number) for number in range(count)]
        for number, connection in enumerate(connect(self._publish_at, dialogues, tls=self._tls)):
            sock = connection.sock
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BYTES)
            self._publishers[sock.fileno()] = Publisher(sock, number)
            self._poll.register(sock, select.EPOLLIN)
        self._idle = list(self._publishers.values())
        self._show_life()
        # A collection in the middle would be measured as latency of the contestant.
        gc.collect()
        gc.disable()
        try:
            yield
        finally:
            gc.enable()
            for publisher in self._publishers.values():
                self._poll.unregister(publisher.sock)
                publisher.sock.close()
            self._publishers = {}

    def deliver(self, supply: Supply, messages: int) -> None:
        """Publish `messages` messages at once, each on its own connection, and wait until all subscribers have them."""
        for _ in range(messages):
            self._send(supply.take())
        self.wait()

    def publish_for(self, seconds: float, supply: Supply, *, sampled: bool = False) -> Published:
        """Publish as fast as all connections allow; return when all is answered and received."""
        with self._publishing(sampled) as published:
            end = time.perf_counter() + seconds
            while time.perf_counter() < end:
                while self._idle:
                    self._send(supply.take())
                    published.messages += 1
                self._receive(1.0)
            self.wait()
        return published

    def pace(self, rate: float, seconds: float, supply: Supply) -> Published:
        """Publish on a schedule, and sample the latency of the deliveries.

        Latency counts from the scheduled time, so that it includes the wait for a free connection ("coordinated
        omission" would hide it).
        """
        total = max(2, int(rate * seconds))
        with self._publishing(sampled=True) as published:
            start = time.perf_counter() + 0.01
            while published.messages < total:
                while published.messages < total and self._idle:
                    due = start + published.messages / rate
                    if due > time.perf_counter():
                        break
                    self._send(supply.take(), due)
                    published.messages += 1
                due_s = start + published.messages / rate - time.perf_counter()
                self._receive(max(0.0, due_s - EPOLL_STEP_S))
            self.wait()
        return published

    def catch_up(self, size: int) -> None:
        """Wait until every subscriber has received `size` bytes, or messages, in total."""
        for fd in self._left:
            self._left[fd] += size
        self._waiting = sum(left > 0 for left in self._left.values())
        self.wait()

    def stall(self) -> None:
        """Stop reading at all present subscribers, and stop waiting for them."""
        for fd in self._subscribers:
            self._poll.unregister(fd)
            self._stalled.add(fd)

    def revive(self) -> None:
        """Read again at the stalled subscribers, and wait until they have received everything they missed."""
        self._waiting = len(self._stalled)
        for fd in self._stalled:
            self._poll.register(fd, select.EPOLLIN)
        self._stalled.clear()
        self.wait()

    def wait(self) -> None:
        """Wait until all subscribers have received everything and all publishes are answered."""
        deadline = time.monotonic() + PATIENCE_S
        while self._waiting or self._unanswered:
            self._receive(1.0)
            if time.monotonic() > deadline:
                problem = f"{self._waiting} subscribers miss messages, {self._unanswered} publishes are unanswered"
                raise Lost(problem, self._waiting + self._unanswered)

    @contextmanager
    def _publishing(self, sampled: bool) -> Iterator[Published]:
        self._published = Published()
        self._sampled = frozenset(list(self._subscribers)[::SAMPLED]) if sampled else frozenset()
        yield self._published
        self._sampled = frozenset()

    def _show_life(self) -> None:
        if time.monotonic() - self._shown_at > ALIVE_S:
            self._shown_at = time.monotonic()
            for sock in self._subscribers.values():
                sock.send(self._protocol.alive)

    def _send(self, request: Request, scheduled: float | None = None) -> None:
        publisher = self._idle.pop()
        publisher.request, publisher.sent_at = request, time.perf_counter()
        request.stamp(publisher.sent_at if scheduled is None else scheduled)
        publisher.sock.sendall(self._protocol.sent_on(publisher.number, request.data))
        self._expect(request.topic, request.units)
        if self._protocol.answer:
            self._unanswered += 1
        else:
            self._idle.insert(0, publisher)

    def _expect(self, topic: str, units: int) -> None:
        left, stalled = self._left, self._stalled
        for fd in self._audiences.get(topic, ()):
            before = left[fd]
            left[fd] = after = before + units
            if (before > 0) != (after > 0) and fd not in stalled:
                self._waiting += 1 if after > 0 else -1

    def _receive(self, timeout_s: float) -> None:
        left, readers, view = self._left, self._readers, self._view
        for fd, _ in self._poll.poll(timeout_s):
            read = readers.get(fd)
            if read is None:
                self._read_answer(self._publishers[fd])
                continue
            try:
                size = read(view)
            except ssl.SSLWantReadError:
                continue
            if not size:
                raise Lost("a subscriber was cut off")
            units = self._units(fd, view[:size]) if self._counters else size
            self.received += units
            before = left[fd]
            left[fd] = after = before - units
            if before > 0 >= after:
                self._waiting -= 1
            if fd in self._sampled:
                self._published.delivered_s += delays_of(bytes(view[:size]))

    def _units(self, fd: int, data: memoryview | bytes) -> int:
        counter = self._counters.get(fd)
        return counter.count(bytes(data)) if counter else len(data)

    def _read_answer(self, publisher: Publisher) -> None:
        try:
            data = publisher.sock.recv(RECEIVE_BYTES)
        except ssl.SSLWantReadError:
            return
        if not data:
            raise Lost("a publishing connection was cut off")
        if not self._protocol.answer or self._protocol.answer not in data:
            return
        assert publisher.request
        self._unanswered -= 1
        self._idle.append(publisher)
        self._published.answered_s.append(time.perf_counter() - publisher.sent_at)
        if self._protocol.accepted not in data:
            self.refused += 1
            self._expect(publisher.request.topic, -publisher.request.units)
