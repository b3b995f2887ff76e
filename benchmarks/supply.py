"""Requests to publish, prepared before the clock runs: each with a head of its own, as senders make them."""

import struct
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count

from benchmarks.protocols import Protocol
from benchmarks.stamps import STAMP, stamped

# More than any contestant takes in a second; whatever is needed beyond that is made while the clock runs.
MOST_PER_S = 30_000
# By so many bytes do bodies that are called equally large differ, so that each request has a length of its own.
SPREAD = 16


@dataclass(frozen=True, slots=True)
class Request:
    """A request to publish one message, and what each subscriber of its topic receives for it."""

    topic: str
    data: bytearray
    units: int
    """Bytes that a subscriber receives, or frames, if its room counts those."""
    stamp_at: int = 0
    """Place of the time of sending in the data, if there is one."""

    def stamp(self, sent_at: float) -> None:
        """Write the time of sending into the body."""
        if self.stamp_at:
            struct.pack_into("<d", self.data, self.stamp_at, sent_at)


class Supply:
    """Requests that `make` makes from their numbers. No two are alike."""

    def __init__(self, make: Callable[[int], Request]) -> None:
        self._make = make
        self._numbers = count(1)
        self._prepared: deque[Request] = deque()

    def prepare(self, seconds: float, most_per_s: int = MOST_PER_S) -> None:
        """Have enough requests to publish flat out for a time."""
        while len(self._prepared) < seconds * most_per_s:
            self._prepared.append(self._make(next(self._numbers)))

    def take(self) -> Request:
        """The next request."""
        return self._prepared.popleft() if self._prepared else self._make(next(self._numbers))


def plain(protocol: Protocol, topics: Sequence[str], size: int) -> Supply:
    """Requests of about `size` bytes, to each of the topics in turn."""
    return Supply(maker(protocol, topics, size))


def maker(protocol: Protocol, topics: Sequence[str], size: int) -> Callable[[int], Request]:
    """Function that makes the request with a number."""

    def make(number: int) -> Request:
        topic = topics[number % len(topics)]
        body = stamped(0.0, size - number % SPREAD)
        data = bytearray(protocol.publish(topic, body, number))
        return Request(topic, data, protocol.delivered(topic, body), data.index(STAMP) + len(STAMP))

    return make
