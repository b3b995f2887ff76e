"""One subscription as a stream of frames, whatever carries them: a websocket, server-sent events or JSON lines."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import trio

from .broker import PAGE_BYTES, PAGE_MESSAGES, Broker, Gap, Start
from .channels import Entry
from .errors import HistoryLost
from .framing import Framing, encoded
from .listening import Listening
from .message import format_id


class Closing:
    """Ends all streams of a hub that is shutting down, each between two batches."""

    def __init__(self) -> None:
        self._waiting: set[trio.CancelScope] = set()
        self._begun = False

    def begin(self) -> None:
        """End them."""
        self._begun = True
        for scope in self._waiting:
            scope.cancel()

    @contextmanager
    def wait(self, seconds: float) -> Iterator[None]:
        """A block that ends after some seconds, or with the hub; raises `StopAsyncIteration` then."""
        with trio.move_on_after(seconds) as scope:
            self._waiting.add(scope)
            try:
                if self._begun:
                    scope.cancel()
                yield
            finally:
                self._waiting.discard(scope)
        if self._begun:
            raise StopAsyncIteration


class _Source(Protocol):
    async def take(self) -> Sequence[Entry | Gap]:
        """What comes next; nothing at the end."""

    def settle(self) -> int:
        """The position up to which everything has been taken."""


@contextmanager
def open_stream(
    broker: Broker, listening: Listening, framing: Framing, start: Start, *, heartbeat_s: float, closing: Closing
) -> Iterator["Stream"]:
    """The frames of a subscription from `start` on, live or only what is stored."""
    epoch = broker.log.epoch
    if not listening.follow:
        yield Stream(epoch, _Stored(broker, listening, start), framing, listening.limit, heartbeat_s, closing)
        return
    with broker.subscribe(listening.wanted, start) as subscription:
        yield Stream(epoch, subscription, framing, listening.limit, heartbeat_s, closing)


class Stream:
    """Frames in batches, as soon as there are any: an asynchronous iterator, made by `open_stream`.

    Ends after `limit` messages, or with the stored ones where the subscription does not follow. Raises `HistoryLost`
    for a gap that the format cannot tell, and `Unavailable` when the log cannot be read.
    """

    def __init__(
        self, epoch: str, source: _Source, framing: Framing, limit: int | None, heartbeat_s: float, closing: Closing
    ) -> None:
        self._epoch = epoch
        self._source = source
        self._framing = framing
        self._left = limit
        self._heartbeat_s = heartbeat_s
        self._closing = closing

    def __aiter__(self) -> "Stream":
        return self

    async def __anext__(self) -> Sequence[bytes]:
        while True:
            if self._left == 0:
                raise StopAsyncIteration
            taken: Sequence[Entry | Gap] | None = None
            with self._closing.wait(self._heartbeat_s):
                taken = await self._source.take()
            if taken is None:
                frame = self._framing.heartbeat(format_id(self._epoch, self._source.settle()))
                if frame:
                    return [frame]
            elif taken:
                return [self._frame(item) for item in self._within_limit(taken)]
            else:
                raise StopAsyncIteration

    def _within_limit(self, taken: Sequence[Entry | Gap]) -> Sequence[Entry | Gap]:
        if self._left is not None:
            gaps = sum(isinstance(item, Gap) for item in taken)
            taken = taken[: self._left + gaps]
            self._left -= len(taken) - gaps
        return taken

    def _frame(self, item: Entry | Gap) -> bytes:
        if isinstance(item, Entry):
            return encoded(item, self._framing)
        frame = self._framing.gap(item)
        if frame is None:
            raise HistoryLost(f"messages before {item.before} are no longer kept ({item.reason}); resume from there")
        return frame


class _Stored:
    """What the log holds now after a start, in either direction."""

    def __init__(self, broker: Broker, listening: Listening, start: Start) -> None:
        self._broker = broker
        self._wanted = listening.wanted
        self._newest = listening.newest
        self._gap = start.gap
        self._oldest = start.position
        self._head = broker.head
        self._position = self._head + 1 if self._newest else start.position

    async def take(self) -> Sequence[Entry | Gap]:
        if self._gap:
            gap, self._gap = self._gap, None
            return [gap]
        while not self._at_end():
            page = await self._broker.log.read(
                self._wanted, after=self._position, limit=PAGE_MESSAGES, max_bytes=PAGE_BYTES, newest=self._newest
            )
            self._position = page.next_after
            entries = [Entry(message, message.position) for message in page.messages]
            if taken := [entry for entry in entries if self._oldest < entry.position <= self._head]:
                return taken
        return []

    def settle(self) -> int:
        return self._position

    def _at_end(self) -> bool:
        return self._position <= self._oldest + 1 if self._newest else self._position >= self._head
