"""What a router publishes for one message, collected until it is done with it."""

from ..errors import InvalidTopic, Refused
from ..protocol.message import Draft, Headers, Message, Verified
from ..protocol.publish import MAX_HOPS
from ..protocol.topics import check_topic, is_own
from .turn import TimeSlice

MAX_PUBLISHES = 1000
MAX_BYTES = 128 << 20
"""Of all that is published for one message: it goes into the log in one commit."""

_WRAPPED = "extra-metadata=github"


class DraftCollector:
    """Collects drafts, checked and marked with the router's name: the `Publish` that routers are given."""

    def __init__(
        self, router: str, message: Message, max_publishes: int = MAX_PUBLISHES, turn: TimeSlice | None = None
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
        self._turn = turn or TimeSlice()

    async def __call__(
        self, topic: str, what: bytes | Message, /, *, headers: Headers = (), wrapped: bool = False, name: str = ""
    ) -> None:
        """See `hookbot.Publish`."""
        await self._turn.maybe_end()
        if self._closed:
            raise RuntimeError(f"{self._hops[-1]} is done with {self._message.id}, it can publish no more for it")
        self._add(self._draft(topic, what, headers, wrapped), name or str(len(self.published) + 1))

    def abandon(self) -> None:
        """Nothing more can be published for this message."""
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
