"""Drafts of a router: collected for each message, checked, and committed to the log."""

import logging
from collections.abc import Sequence

import trio

from ..backoff import Backoff
from ..broker.broker import Broker
from ..broker.time_slices import TimeSlice
from ..errors import HeadersTooLarge, InvalidTopic, Refused, Superseded, Unavailable
from ..log.contract import Move
from ..protocol.headers import encoded
from ..protocol.http1 import MAX_HEAD_BYTES
from ..protocol.message import GITHUB_METADATA, Draft, Headers, Message, Verified
from ..protocol.publish import MAX_HOPS
from ..protocol.topics import check_topic, is_own

MAX_PUBLISHES = 1000
"""Default limit on publishes for one message, so that a bug in a router cannot flood the log."""
MAX_BYTES = 128 << 20
"""Limit on the size of all drafts for one message, headers included, since they are stored in one commit."""

# Enough drafts for one commit to be worth its cost; a router that is faster than the disk waits.
MAX_WAITING = 1000
# As much as the writer puts into one commit.
MAX_WAITING_BYTES = 8 << 20

LEFT_OUT = (Refused, UnicodeEncodeError)
"""Errors of a single publish, such as that to the topic of a branch whose name can be none: it costs no other."""

logger = logging.getLogger(__package__)


class Outbox:
    """Queue of a router's drafts, committed together with the position of the message that they were made from.

    Drafts are queued while a commit is under way, so that a router with a backlog does not wait for the disk. There is
    never more than one commit at a time, so that a later one cannot overtake one that failed.
    """

    def __init__(self, broker: Broker, cursor: str, position: int) -> None:
        self.position = position
        """Position of the last message whose drafts were put in."""
        self.committed = position
        """Position of the last message whose drafts are in the log."""
        self._broker = broker
        self._cursor = cursor
        self._drafts: list[Draft] = []
        self._bytes = 0
        self._filled = trio.Event()
        self._taken = trio.Event()

    async def put(self, drafts: Sequence[Draft], position: int) -> None:
        """Add all drafts for the messages up to `position`, once the outbox has room. If cancelled, add nothing."""
        while len(self._drafts) >= MAX_WAITING or self._bytes >= MAX_WAITING_BYTES:
            await self._taken.wait()
        self._drafts.extend(drafts)
        self._bytes += sum([draft.size for draft in drafts])
        self.position = position
        self._filled.set()

    async def run(self) -> None:
        """Commit drafts until cancelled, or until another hub has routed the same messages: then they are dropped.

        A commit is retried for as long as the log is unavailable.
        """
        while True:
            await self._filled.wait()
            drafts, position = self._drafts, self.position
            self._drafts, self._bytes, self._filled = [], 0, trio.Event()
            self._taken.set()
            self._taken = trio.Event()
            try:
                await self._commit(drafts, position)
            except Superseded as error:
                logger.warning("%s: not stored, starting again from the saved position: %s", self._cursor, error)
                return
            self.committed = position

    async def _commit(self, drafts: Sequence[Draft], position: int) -> None:
        # Only one hub runs the router, so retries cannot collide: half of each delay is enough randomness.
        backoff = Backoff(0.05, 5, spread=0.5)
        while True:
            try:
                await self._broker.commit(drafts, cursors={self._cursor: Move(self.committed, position)})
            except Superseded:
                raise
            except Unavailable as error:
                delay_s = backoff.next_s()
                logger.warning("%s: not stored, trying again in %.1f s: %s", self._cursor, delay_s, error)
                await trio.sleep(delay_s)
            else:
                return


class DraftCollector:
    """The `Publish` of a router for one message: checks drafts, adds where they come from, and collects them."""

    def __init__(
        self, router: str, message: Message, max_publishes: int = MAX_PUBLISHES, time_slice: TimeSlice | None = None
    ) -> None:
        self.published: dict[str, Draft] = {}
        """Drafts by the name of their publish."""
        self.flood: Refused | None = None
        """Error of a publish beyond the limits, which the router may have ignored."""
        self._left_out: list[Exception] = []
        """Errors of the publishes that were left out."""
        self._message = message
        self._hops = (*message.hops, router)
        self._max_publishes = max_publishes
        self._bytes = 0
        self._closed = False
        self._time_slice = time_slice or TimeSlice()

    async def __call__(
        self, topic: str, what: bytes | Message, /, *, headers: Headers = (), wrapped: bool = False, name: str = ""
    ) -> None:
        """Collect one draft, or leave out one that cannot be stored: see `hookbot.Publish`."""
        await self._time_slice.yield_if_over()
        self.collect(topic, what, headers, wrapped, name)

    def collect(
        self, topic: str, what: bytes | Message, headers: Headers = (), wrapped: bool = False, name: str = ""
    ) -> None:
        """Collect one draft as a call does, without letting anybody else run."""
        if self._closed:
            raise RuntimeError(
                f"router {self._hops[-1]} published after route() had ended for the message {self._message.id}"
            )
        if len(self.published) + len(self._left_out) >= self._max_publishes:
            raise self._flooded(f"a router publishes at most {self._max_publishes} times for one message")
        if len(self._hops) > MAX_HOPS:
            way = ", ".join(self._hops)
            raise Refused(f"the message has been through more than {MAX_HOPS} routers; look for a loop in {way}")
        try:
            draft = self._draft(topic, what, headers, wrapped)
        except LEFT_OUT as error:
            self._left_out.append(error)
        else:
            self._add(draft, name or str(len(self.published) + 1))

    def abandon(self) -> None:
        """Reject further publishes for this message."""
        self._closed = True

    def close(self) -> None:
        """Reject further publishes, and log that some were left out.

        Raises `Refused` if a limit was exceeded, even if the router has ignored that, and the error of the first
        publish that was left out if none is left.
        """
        self.abandon()
        if self.flood:
            raise self.flood
        if self._left_out and not self.published:
            raise self._left_out[0]
        if self._left_out:
            logger.warning(
                "router %s: left out %d of its publishes for %s: %s",
                self._hops[-1],
                len(self._left_out),
                self._message.id,
                self._left_out[0],
            )

    def _draft(self, topic: str, what: bytes | Message, headers: Headers, wrapped: bool) -> Draft:
        check_publishable(topic)
        if isinstance(what, Message):
            query = f"{what.query}&{GITHUB_METADATA}".lstrip("&") if wrapped and not what.wrapped else what.query
            # Most are passed on as they are: the log has taken all of it before.
            if what is self._message and not headers:
                return Draft.passing_on(what, topic, query, self._hops)
            fields = what.body, (*what.headers, *headers), query, what.verified
        else:
            fields = what, tuple(headers), GITHUB_METADATA if wrapped else "", None
        draft = Draft(topic, *fields, self._hops, routed_from=self._message.id)
        # What the message has is in the log, and was checked before that.
        received = self._message.headers
        passed_on = draft.headers[: len(received)] == received
        added = draft.headers[len(received) :] if passed_on else draft.headers
        _check_types(draft, added)
        known = set(received) if added else ()
        _check_headers(tuple(field for field in added if field not in known))
        return draft

    def _add(self, draft: Draft, name: str) -> None:
        if name in self.published:
            raise ValueError(f"two publishes for one message have the name {name!r}; give each its own")
        self._bytes += draft.size
        if self._bytes > MAX_BYTES:
            raise self._flooded(f"a router publishes at most {MAX_BYTES} bytes for one message")
        self.published[name] = draft

    def _flooded(self, why: str) -> Refused:
        self.flood = Refused(why)
        return self.flood


def check_publishable(topic: str) -> None:
    """Raise `InvalidTopic` if no router can publish to the topic, and `TypeError` if it is no string."""
    if not isinstance(topic, str):
        raise TypeError(f"a topic is a str, not {type(topic).__name__}")
    if is_own(check_topic(topic)):
        raise InvalidTopic(f"only the hub itself publishes to topics beneath hookbot/: {topic!r}")


def _check_types(draft: Draft, added: Headers) -> None:
    """Raise `TypeError` or `ValueError` for a mistake of a router that would otherwise fail the commit of the log."""
    if not isinstance(draft.body, bytes):
        raise TypeError(f"publish takes bytes or a message, not {type(draft.body).__name__}")
    if not isinstance(draft.query, str) or not isinstance(draft.verified, Verified | None):
        raise TypeError("the query of a message is a str, and its verified a hookbot.Verified or None")
    for pair in added:
        if not (isinstance(pair, tuple) and len(pair) == 2 and all(isinstance(part, str) for part in pair)):
            raise TypeError(f"headers are pairs of str, such as (('Content-Type', 'text/plain'),), not {pair!r:.80}")
    # As the log will encode it.
    draft.query.encode()


def _check_headers(headers: Headers) -> None:
    """Raise `Refused` for headers that no request could have: the hub takes none of them from others, either."""
    if sum(len(name) + len(value) for name, value in headers) > MAX_HEAD_BYTES:
        raise HeadersTooLarge(f"the headers of a publish have at most {MAX_HEAD_BYTES} bytes together")
    encoded(headers)
