"""Search: stored messages that match filters, found in bounded steps between which the rest of the hub runs."""

from collections.abc import Callable, Sequence
from functools import partial
from time import monotonic
from typing import Generic, NamedTuple, TypeVar

import trio

from ...broker.broker import Broker
from ...errors import NotFound, Refused, as_refusal
from ...protocol.expressions import TooManySteps
from ...protocol.message import Message, format_id, parse_id
from ...threads import ThreadSlices, hub_threads
from ..page_turns import PageTurns
from .filters import Filters

# A page is read and looked through while others who read the log wait.
PAGE_MESSAGES = 200
PAGE_BYTES = 1 << 20
PAGE_S = 0.05

T = TypeVar("T")


class Bounds(NamedTuple):
    """Bounds of the search of one request. The time is that of its own turns."""

    messages: int = 2000
    size: int = 16 << 20
    turns_s: float = 0.3


ONE_REQUEST = Bounds()


class _Looked(NamedTuple, Generic[T]):
    """Finds in a page, and how much of it was looked at."""

    found: Sequence[T]
    messages: int
    seen: int
    skipped: int
    next_at: int
    ended: bool


class Search(Generic[T]):
    """A search through the log, from a position on, backwards or forwards up to a last one.

    What is found is what `make` makes of the messages: these are not kept, since each may have 25 MB. The search goes
    on for as long as its owner wants, with `page`, or within bounds, with `run`.
    """

    def __init__(
        self,
        broker: Broker,
        turns: PageTurns,
        filters: Filters,
        make: Callable[[Message], T],
        *,
        after: int,
        last: int | None = None,
    ) -> None:
        """`after`: the first position is that after it or, without a `last`, that before it."""
        self._log = broker.log
        self._turns = turns
        self._filters = filters
        self._make = make
        self._last = last
        self.position = after
        """Position up to which everything was looked at."""
        self.ended = last is not None and after >= last
        self.searched = 0
        """Number of messages that were looked at, of those that the request sees."""
        self.skipped = 0
        """Number of messages for which the expression takes too many steps."""
        self._size = 0
        self._turns_s = 0.0

    async def run(self, limit: int, bounds: Bounds = ONE_REQUEST) -> Sequence[T]:
        """Finds within bounds, at most `limit`. Raises `Refused` if the expression is too much for all of it.

        May return less, even nothing, before the search has `ended`: another call goes on.
        """
        found: list[T] = []
        read = 0
        while len(found) < limit and not self.ended:
            page = await self.page(limit - len(found))
            found += page.found
            read += page.messages
            if read >= bounds.messages or self._size > bounds.size or self._turns_s > bounds.turns_s:
                break
        if self.skipped and self.skipped == self.searched:
            raise Refused("where takes too long for every message; make the expression simpler")
        return found

    async def page(self, limit: int) -> _Looked[T]:
        """Finds in the next page of the log, at most `limit`."""
        # Without conditions, what is read is what is found.
        few = limit if self._filters.takes_all else PAGE_MESSAGES
        async with self._turns.requests.of(self._filters.scope.holder), self._turns:
            begun_at = monotonic()
            page = await self._log.read(
                self._filters.wanted,
                after=self.position,
                limit=min(few, PAGE_MESSAGES),
                max_bytes=PAGE_BYTES,
                newest=self._last is None,
            )
            look = partial(self._look, page.messages, limit, page.next_after)
            looked = await trio.to_thread.run_sync(look, limiter=hub_threads())
            self._size += sum(len(message.body) for message in page.messages)
            self._turns_s += monotonic() - begun_at
        self.position, self.ended = looked.next_at, looked.ended
        self.searched += looked.seen
        self.skipped += looked.skipped
        return looked

    def _look(self, messages: Sequence[Message], limit: int, next_at: int) -> _Looked[T]:
        """Look through a page, in a thread; stop early after `PAGE_S`."""
        found: list[T] = []
        slices = ThreadSlices()
        ends_at, n, seen, skipped = monotonic() + PAGE_S, 0, 0, 0
        for n, message in enumerate(messages):
            if len(found) == limit or (n and monotonic() > ends_at):
                return _Looked(found, n, seen, skipped, messages[n - 1].position, False)
            if self._last is not None and message.position > self._last:
                return _Looked(found, n, seen, skipped, self._last, True)
            slices.rest_if_over()
            seen += self._filters.scope.sees_message(message)
            try:
                if self._filters.matches(message):
                    found.append(self._make(message))
            except TooManySteps:
                skipped += 1
        ended = next_at == 0 if self._last is None else next_at >= self._last
        return _Looked(found, len(messages), seen, skipped, next_at, ended)


def position_of(broker: Broker, id: str) -> int:
    """Position of an id of this log. Raises `Refused` for what is no id, and `NotFound` for that of another log."""
    with as_refusal():
        epoch, position = parse_id(id)
    if epoch != broker.log.epoch and position > broker.log.shared_with(epoch):
        raise NotFound(f"the log has no message {id}: it is of another log")
    return position


def id_at(broker: Broker, position: int) -> str:
    """The id of a position."""
    return format_id(broker.log.epoch, position)
