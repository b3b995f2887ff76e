"""Deliveries: the messages of a live view, and what became of each."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from ...delivery.observer import Observer
from ...delivery.outcome import Attempt, Outcome
from ...protocol.event_type import event_type
from ...protocol.message import Gap, Headers, Message

MAX_DELIVERIES = 500
"""Number of deliveries kept: more than anybody looks through."""
MAX_BYTES = 64 << 20
"""Total size of the messages and responses kept; a larger delivery is kept alone."""
KEPT_ATTEMPTS = 20
"""Attempts at a message that are kept, in words."""
# Bytes of a body that a filter looks at: it does so in all that is kept, for each time that they are drawn.
_SEARCHED_BYTES = 16 << 10

State = Literal["received", "running", "waiting", "done", "failed"]
"""States of a delivery: there is nothing to deliver, an attempt is in progress, the next one is to come, the last one
succeeded, or it failed."""


@dataclass(slots=True, eq=False)
class Delivery:
    """A message, and the attempts to deliver it."""

    message: Message
    state: State
    outcome: Outcome | None = None
    """Outcome of the last attempt that has ended."""
    history: deque[tuple[int, float, str]] = field(default_factory=lambda: deque(maxlen=KEPT_ATTEMPTS))
    """The last attempts that have ended, oldest first: number, time of the end, and outcome in words."""
    number: int = 0
    """Number of attempts that have begun."""
    due: float = 0
    """Time of the next attempt, while it waits for one."""
    kept_in: str = ""
    """Place where the message is kept, if it was given up."""
    _event: str | None = None

    @property
    def event(self) -> str:
        """Event type of the message, "" if it has none."""
        # Only of what is looked at: thousands may pass in a second.
        if self._event is None:
            self._event = event_type(self.message) or ""
        return self._event

    @property
    def is_finished(self) -> bool:
        """True if nothing becomes of it any more, unless somebody wants it delivered again."""
        return self.state not in ("running", "waiting")

    @property
    def size(self) -> int:
        """Approximate size in memory."""
        exchange = self.outcome and self.outcome.exchange
        if not exchange:
            return self.message.size
        return self.message.size + len(exchange.body) + _size(exchange.headers) + _size(exchange.request_headers)

    def matches(self, wanted: str) -> bool:
        """True if a text is in the topic, event type, id, result or beginning of the body; in upper or lower case."""
        result = self.outcome.result if self.outcome else ""
        named = f"{self.message.topic}\n{self.event}\n{self.message.id}\n{result}"
        # Of bytes, `lower` changes the letters of ASCII only.
        beginning = self.message.body[:_SEARCHED_BYTES].lower()
        return wanted.lower() in named.lower() or wanted.lower().encode("utf-8", "surrogatepass") in beginning


class Deliveries(Observer):
    """The deliveries of the last messages, oldest first.

    Of more than `MAX_DELIVERIES` or `MAX_BYTES`, the oldest that are finished are dropped; if none is, the oldest.
    """

    def __init__(self, changed: Callable[[], object] = lambda: None, now: Callable[[], float] = time.time) -> None:
        """`changed` is called at each change; `now` returns the time in seconds since 1970."""
        self.changed = changed
        self.now = now
        self.received = self.done = self.given_up = 0
        """Numbers of messages that were shown, delivered, and kept elsewhere."""
        self.gaps = 0
        """Number of holes where messages are missing."""
        # Messages that a worker has read and not finished; and those of them that it has begun with.
        self._held = 0
        self._in_hand: set[int] = set()
        # By the identity of the message: some have no id, and one may come again with the same.
        self._kept: dict[int, Delivery] = {}
        self._bytes = 0

    def __iter__(self) -> Iterator[Delivery]:
        return iter(self._kept.values())

    @property
    def behind(self) -> int:
        """Number of messages that a worker has read and not begun with."""
        return self._held - len(self._in_hand)

    def receive(self, message: Message) -> None:
        """Keep a message that nobody delivers anywhere."""
        self.received += 1
        self._keep(message, "received")
        self.changed()

    def missed(self, gap: Gap) -> None:
        self.gaps += 1
        self.changed()

    def taken(self, message: Message) -> None:
        self._held += 1
        self.changed()

    def begun(self, message: Message, attempt: int) -> None:
        self._in_hand.add(id(message))
        self.begin(message)

    def ended(self, attempt: Attempt) -> None:
        if attempt.retry_in_s is not None:
            self.conclude(attempt.message, "waiting", attempt.outcome, due=self.now() + attempt.retry_in_s)
        elif attempt.kept_in:
            self.given_up += 1
            self.conclude(attempt.message, "failed", attempt.outcome, kept_in=attempt.kept_in)
        else:
            self.done += 1
            self.conclude(attempt.message, "done", attempt.outcome)

    def released(self, message: Message) -> None:
        self._held -= 1
        self._in_hand.discard(id(message))
        delivery = self._kept.get(id(message))
        if delivery and not delivery.is_finished:
            # It gave way to a newer one, or the worker ends.
            delivery.state = "failed"
        self.changed()

    def begin(self, message: Message) -> None:
        """Record that an attempt at a message begins."""
        delivery = self._kept.get(id(message)) or self._keep(message, "running")
        delivery.state = "running"
        delivery.number += 1
        self.changed()

    def conclude(self, message: Message, state: State, outcome: Outcome, *, due: float = 0, kept_in: str = "") -> None:
        """Record how an attempt at a message ended, if it is still kept."""
        if delivery := self._kept.get(id(message)):
            self._bytes -= delivery.size
            delivery.state, delivery.outcome, delivery.due = state, outcome, due
            delivery.kept_in = kept_in or delivery.kept_in
            delivery.history.append((delivery.number, self.now(), outcome.line))
            self._bytes += delivery.size
            self._make_room(delivery)
        self.changed()

    def _keep(self, message: Message, state: State) -> Delivery:
        delivery = self._kept[id(message)] = Delivery(message, state)
        self._bytes += delivery.size
        self._make_room(delivery)
        return delivery

    def _make_room(self, newest: Delivery) -> None:
        """Drop deliveries until what is kept is within its limits, but not the `newest` alone."""
        while len(self._kept) > MAX_DELIVERIES or (self._bytes > MAX_BYTES and len(self._kept) > 1):
            others = (each for each in self if each is not newest)
            dropped = next((each for each in others if each.is_finished), None) or next(iter(self))
            del self._kept[id(dropped.message)]
            self._bytes -= dropped.size


def _size(headers: Headers) -> int:
    return sum(len(name) + len(value) + 8 for name, value in headers)
