"""Stored messages: sources that cover the log up to its head at their creation."""

from collections.abc import Sequence
from typing import Protocol

from ..protocol.message import Gap
from ..protocol.subscribe import SubscribeRequest
from .broker import Broker
from .channels import Entry
from .starts import Start


class MessageSource(Protocol):
    """Messages for one connection, in the order of delivery: a `Subscription`, a `Consumer`, or stored messages."""

    @property
    def is_behind(self) -> bool:
        """True if `take` reads the log and does not wait, neither for new messages nor for acknowledgements."""

    async def take(self) -> Sequence[Entry | Gap] | None:
        """Next messages and gaps, as soon as there are any; None at the end. Cancelling loses nothing.

        Empty if a page of the log has none, or has to be read first: a source that `is_behind` is let read in turn with
        others. Raises `Ended` if the hub ends the subscription, and `Unavailable` if the log cannot be read.
        """

    def skip_unwanted(self) -> int:
        """Move past messages of other topics, and return a position after which a client can resume without loss."""


class StoredMessages:
    """Stored messages from `start` up to the head at creation, oldest first."""

    is_behind = True

    def __init__(self, broker: Broker, request: SubscribeRequest, start: Start) -> None:
        self._broker = broker
        self._wanted = request.wanted
        self._gap = start.gap
        self._position, self._told = start.position, start.told
        self._head = broker.head

    async def take(self) -> Sequence[Entry | Gap] | None:
        """Next page, after a gap if retention has deleted messages; None at the end. Raises `Unavailable`."""
        if self._gap:
            gap, self._gap = self._gap, None
            return [gap]
        if self._position >= self._head:
            return None
        items, self._position, self._told = await self._broker.read_on(self._wanted, self._position, self._told)
        return [item for item in items if isinstance(item, Gap) or item.position <= self._head]

    def skip_unwanted(self) -> int:
        """Position up to which everything has been taken."""
        return min(self._position, self._head)


class NewestMessages:
    """Stored messages after a start, newest first."""

    is_behind = True

    def __init__(self, broker: Broker, request: SubscribeRequest, start: Start) -> None:
        self._log = broker.log
        self._frames = broker.frames
        self._wanted = request.wanted
        self._limit = min(request.limit or broker.limits.page_messages, broker.limits.page_messages)
        self._max_bytes = broker.limits.page_bytes
        self._gap = start.gap
        self._oldest = start.position
        self._before = broker.head + 1

    async def take(self) -> Sequence[Entry | Gap] | None:
        """Next page, newest first, no longer than the request's limit; None at the end. Raises `Unavailable`.

        The gap of the start and damage are reported, not what retention deletes meanwhile. Not cached: cached pages are
        oldest first.
        """
        if self._gap:
            gap, self._gap = self._gap, None
            return [gap]
        if self._before <= self._oldest + 1:
            return None
        page = await self._log.read(
            self._wanted, after=self._before, limit=self._limit, max_bytes=self._max_bytes, newest=True
        )
        last, self._before = self._before - 1, page.next_after
        if page.hole:
            return [Gap.between(page.hole, self._log.epoch, max(self._before - 1, self._oldest), last)]
        messages = [message for message in page.messages if message.position > self._oldest]
        return [Entry(message, message.position, self._frames) for message in messages]

    def skip_unwanted(self) -> int:
        """Position of the start: a client that resumes there misses nothing, however many pages it has received."""
        return self._oldest
