"""Drafts of a router: collected for each message, checked, and committed to the log."""

import logging
from collections.abc import Sequence
from time import perf_counter

import trio

from ..backoff import Backoff
from ..broker.broker import Broker
from ..errors import InvalidTopic, Refused, Unavailable
from ..protocol.message import Draft, Headers, Message, Verified
from ..protocol.publish import MAX_HOPS
from ..protocol.topics import check_topic, is_own

MAX_PUBLISHES = 1000
MAX_BYTES = 128 << 20
"""Of all that is published for one message: it goes into the log in one commit."""

MAX_WAITING = 1000
MAX_WAITING_BYTES = 8 << 20
TIME_SLICE_S = 0.002
"""A router that runs for longer than this lets the rest of the hub run."""

_WRAPPED = "extra-metadata=github"

logger = logging.getLogger(__name__)


class Outbox:
    """Commits the drafts of whole messages, together with the position up to which these are all.

    While one commit is under way the next collects, so that a router with a backlog is not held up by the
    disk; there is never more than one, so that a later one cannot overtake one that failed.
    """

    def __init__(self, broker: Broker, cursor: str, position: int) -> None:
        self.position = position
        """Everything up to here was put in."""
        self.committed = position
        """Everything up to here is in the log."""
        self._broker = broker
        self._cursor = cursor
        self._drafts: list[Draft] = []
        self._bytes = 0
        self._filled = trio.Event()
        self._taken = trio.Event()

    async def put(self, drafts: Sequence[Draft], position: int) -> None:
        """Add all drafts for the messages up to `position`; waits while the outbox is full."""
        while len(self._drafts) >= MAX_WAITING or self._bytes >= MAX_WAITING_BYTES:
            await self._taken.wait()
        self._drafts.extend(drafts)
        self._bytes += sum(draft.size for draft in drafts)
        self.position = position
        self._filled.set()

    async def run(self) -> None:
        """Commit what is put in, until cancelled. A commit that the log cannot take now is repeated until it can."""
        while True:
            await self._filled.wait()
            drafts, position = self._drafts, self.position
            self._drafts, self._bytes, self._filled = [], 0, trio.Event()
            self._taken.set()
            self._taken = trio.Event()
            await self._commit(drafts, position)
            self.committed = position

    async def _commit(self, drafts: Sequence[Draft], position: int) -> None:
        backoff = Backoff(0.05, 5)
        while True:
            try:
                await self._broker.commit(drafts, cursors={self._cursor: position})
            except Unavailable as error:
                delay_s = backoff.next_s()
                logger.warning("%s: not stored, trying again in %.1f s: %s", self._cursor, delay_s, error)
                await trio.sleep(delay_s)
            else:
                return


class TimeSlice:
    """A router's share of the event loop: cooperative scheduling that costs next to nothing until the slice is over."""

    def __init__(self) -> None:
        self._end = perf_counter() + TIME_SLICE_S

    async def yield_if_over(self) -> None:
        """A checkpoint, and a new slice, if this one is over."""
        if perf_counter() > self._end:
            await trio.lowlevel.checkpoint()
            self._end = perf_counter() + TIME_SLICE_S


class DraftCollector:
    """The `Publish` that a router is given for one message: collects drafts, checked and marked with its name."""

    def __init__(
        self, router: str, message: Message, max_publishes: int = MAX_PUBLISHES, time_slice: TimeSlice | None = None
    ) -> None:
        self.published: dict[str, Draft] = {}
        """Each draft, by the name that tells it from the others."""
        self.flood: Refused | None = None
        """Set when the router published too much, whether it noticed or not."""
        self._message = message
        self._hops = (*message.hops, router)
        self._max_publishes = max_publishes
        self._bytes = 0
        self._closed = False
        self._time_slice = time_slice or TimeSlice()

    async def __call__(
        self, topic: str, what: bytes | Message, /, *, headers: Headers = (), wrapped: bool = False, name: str = ""
    ) -> None:
        """See `hookbot.Publish`."""
        await self._time_slice.yield_if_over()
        if self._closed:
            raise RuntimeError(f"{self._hops[-1]} is done with {self._message.id}, it can publish no more for it")
        self._add(self._draft(topic, what, headers, wrapped), name or str(len(self.published) + 1))

    def abandon(self) -> None:
        """Refuse every further publish for this message."""
        self._closed = True

    def close(self) -> None:
        """Like `abandon`; raises `Refused` if too much was published, also when the router took no notice of that."""
        self.abandon()
        if self.flood:
            raise self.flood

    def _draft(self, topic: str, what: bytes | Message, headers: Headers, wrapped: bool) -> Draft:
        _check_publishable(topic)
        if len(self._hops) > MAX_HOPS:
            raise Refused(f"a message goes through at most {MAX_HOPS} routers: {', '.join(self._hops)}")
        if isinstance(what, Message):
            query = f"{what.query}&{_WRAPPED}".lstrip("&") if wrapped and not what.wrapped else what.query
            draft = Draft(topic, what.body, (*what.headers, *headers), query, what.verified, self._hops)
        else:
            draft = Draft(topic, what, tuple(headers), _WRAPPED if wrapped else "", hops=self._hops)
        _check_types(draft)
        return draft

    def _add(self, draft: Draft, name: str) -> None:
        if name in self.published:
            raise ValueError(f"published twice under the name {name!r} for one message")
        self._bytes += draft.size
        if len(self.published) >= self._max_publishes:
            self.flood = Refused(f"a router publishes at most {self._max_publishes} times for one message")
        elif self._bytes > MAX_BYTES:
            self.flood = Refused(f"a router publishes at most {MAX_BYTES} bytes for one message")
        if self.flood:
            raise self.flood
        self.published[name] = draft


def _check_publishable(topic: str) -> None:
    if not isinstance(topic, str):
        raise TypeError(f"a topic is text, not {type(topic).__name__}")
    if is_own(check_topic(topic)):
        raise InvalidTopic(f"topics beneath hookbot/ are the hub's own: {topic!r}")


def _check_types(draft: Draft) -> None:
    """Raises `TypeError` or `ValueError` for what a router may hand over by mistake, and a log could not store."""
    if not isinstance(draft.body, bytes):
        raise TypeError(f"what is published is bytes or a message, not {type(draft.body).__name__}")
    if not isinstance(draft.query, str) or not isinstance(draft.verified, Verified | None):
        raise TypeError("a message that is passed on has a query that is text, and was verified by the hub or not")
    for pair in draft.headers:
        if not (isinstance(pair, tuple) and len(pair) == 2 and all(isinstance(part, str) for part in pair)):
            raise TypeError(f"headers are pairs of text, such as (('Content-Type', 'text/plain'),), not {pair!r:.80}")
        "".join(pair).encode("latin-1")
    draft.query.encode()
