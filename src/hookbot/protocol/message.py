"""Drafts, as publishers hand them over, and messages, as the log stores them.

An id is ``<epoch>-<position>``: eight letters that name the log, and the position in it in fifteen digits. Ids of one
log sort as text, and no id can be mistaken for a duration, a time or a word. Clients treat ids as opaque.
"""

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import chain
from time import time_ns
from typing import Any, Literal
from urllib.parse import parse_qsl

from .charsets import decode, parameter
from .json_text import read_json
from .topics import is_unsafe

Headers = tuple[tuple[str, str], ...]
"""Header fields in the order in which they were sent, as latin-1 text. Repeated names, case and all bytes are kept."""

KeyKind = Literal["idempotency", "replay", "single use", "delivery", "reply", "retry"]
"""Kinds of deduplication keys: chosen by a publisher, taken from a verified request by the rule of its source, or of a
message that has a reply, or has failed."""

METHOD_HEADER = "Hookbot-Method"
"""Header of a message by GET. Only a hub sets it: a sender's own is not stored."""

GITHUB_METADATA = "extra-metadata=github"
"""Query of a publish whose raw frames carry the ancestor's object."""

ID_PATTERN = "([a-z]{8})-([0-9]{15})"
_ID = re.compile(ID_PATTERN)
_OPAQUE_ID = re.compile(r"[A-Za-z0-9._~-]{1,64}")
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})")
_EPOCH_START = datetime(1970, 1, 1, tzinfo=UTC)
# The end of the year 9999, the last that has a text.
MAX_TIME_US = 253_402_300_799_999_999


@dataclass(frozen=True, slots=True)
class Verified:
    """Verified origin of a message."""

    provider: str
    key: str
    """Index, from 0, of the secret that matched."""
    signed_at: float | None = None
    """Signing time in Unix seconds; None if the signature does not cover one."""
    source: str | None = None
    """Topic of the source that verified it; None in messages that an older hub has stored."""


# As `Draft`.
@dataclass(slots=True, unsafe_hash=True)
class Once:
    """Deduplication key of a draft, stored in the same commit as the message. Immutable by convention.

    It is the same key only if `kind`, `topic` and `key` are all equal, so that no publisher can write one of another
    kind or topic. If it was used before, a draft with an `exclusive` key is not stored. It is a `Duplicate`, or
    rejected with `KeyReused` if both drafts have a `fingerprint` and these differ. If the key is not exclusive, the
    draft is stored as a `duplicate_of` the first message.
    """

    kind: KeyKind
    topic: str
    """Topic of the publish or, for a verified one, of its source."""
    key: str
    exclusive: bool = True
    fingerprint: bytes = b""


# Not frozen, although nobody changes one: `object.__setattr__` for each field would cost as much as storing it.
@dataclass(slots=True, unsafe_hash=True)
class Draft:
    """A message as a publisher hands it over, not stored yet and without an id. Immutable by convention."""

    topic: str
    body: bytes = b""
    headers: Headers = ()
    query: str = ""
    verified: Verified | None = None
    hops: tuple[str, ...] = ()
    once: tuple[Once, ...] = ()
    replay_of: str | None = None
    """Id of the message that an operator publishes again."""
    routed_from: str | None = None
    """Id of the message that a router of the hub has made it from."""
    _size: int = field(default=0, init=False, repr=False, compare=False)

    @property
    def size(self) -> int:
        """Approximate size in memory and on disk, in bytes."""
        if not self._size:
            self._size = _size(self)
        return self._size

    @property
    def unverified(self) -> bool:
        """True if nobody vouches for its sender: the topic takes no token, and no signature was verified."""
        return self.verified is None and is_unsafe(self.topic)

    @classmethod
    def passing_on(cls, message: "Message", topic: str, query: str, hops: tuple[str, ...]) -> "Draft":
        """Draft of a router, with the body, the headers and the origin of a message."""
        draft = cls(topic, message.body, message.headers, query, message.verified, hops, routed_from=message.id)
        draft._size = message.size + len(topic) - len(message.topic) + len(query) - len(message.query)
        return draft

    def stored(self, epoch: str, position: int, time_us: int, duplicate_of: str | None) -> "Message":
        """The message that the log `epoch` makes of this draft."""
        message = _Unsealed()
        message.topic, message.body, message.headers = self.topic, self.body, self.headers
        message.query, message.verified, message.hops = self.query, self.verified, self.hops
        message.duplicate_of, message.replay_of, message.routed_from = duplicate_of, self.replay_of, self.routed_from
        message.redelivered = False
        message.id, message.time_us = format_id(epoch, position), time_us
        message._size, message._position = self.size, position
        message.__class__ = Message
        made: Message = message
        return made


@dataclass(frozen=True, slots=True)
class Message:
    """A draft that the log has stored and given an id and a time."""

    topic: str
    body: bytes = b""
    headers: Headers = ()
    query: str = ""
    verified: Verified | None = None
    hops: tuple[str, ...] = ()
    duplicate_of: str | None = None
    id: str = ""
    """Empty if the message arrived in a raw frame, which has no id."""
    time_us: int = 0
    """Microseconds since 1970, UTC; never decreases in the order of ids. Of a raw frame, the time of its arrival."""
    redelivered: bool = field(default=False, compare=False)
    """True if the hub sent it to a member of the group before, and it was not acknowledged."""
    replay_of: str | None = None
    """Id of the message that an operator has published again as this one."""
    routed_from: str | None = None
    """Id of the message that a router of the hub has made this one from."""
    _size: int = field(default=0, init=False, repr=False, compare=False)
    _position: int = field(default=0, init=False, repr=False, compare=False)

    @property
    def size(self) -> int:
        """Approximate size in memory and on disk, in bytes."""
        return self._size or _size(self)

    @property
    def time(self) -> datetime:
        """Time at which the log stored it, or at which a raw frame arrived, in UTC."""
        return _EPOCH_START + timedelta(microseconds=self.time_us)

    @property
    def position(self) -> int:
        """Position in its log, counting from 1. For the hub only: to clients an id is opaque."""
        return self._position or int(self.id[-15:])

    @property
    def method(self) -> str:
        """Method of its publish: GET or, as of nearly all, POST."""
        return "GET" if self.header(METHOD_HEADER) == "GET" and not self.body else "POST"

    def header(self, name: str) -> str | None:
        """Value of the first header with this name, which is case-insensitive; None if there is none."""
        wanted = name.lower()
        for key, value in self.headers:
            if key.lower() == wanted:
                return value
        return None

    def json(self) -> Any:
        """The body parsed as JSON, in whatever charset it is; see `read_json`.

        Raises `ValueError` if it is not JSON or nested too deeply.
        """
        return read_json(self.text() or "")

    def text(self) -> str | None:
        """The body as text: in the charset that it declares, or else in UTF-8; None if it is not text."""
        return decode(self.body, parameter(self.header("content-type") or "", "charset"))

    @property
    def wrapped(self) -> bool:
        """True if its raw frames carry the ancestor's ``extra-metadata=github`` object in place of the body."""
        return wants_metadata(self.query)


# A message while it is made: to set the fields of a frozen one costs as much as storing it.
_Unsealed: Any = type("_Unsealed", (), {"__slots__": Message.__slots__})


@dataclass(frozen=True, slots=True)
class Duplicate:
    """Outcome of a draft whose `Once` key was used before: nothing is stored, and `id` is that of the first message."""

    id: str


GAP_REASONS = ("retention", "damage", "failover", "other-log")
"""Reasons of a `Gap`."""


@dataclass(frozen=True, slots=True)
class Gap:
    """A hole in a subscription: messages after `after` (None: unknown or the start) and before `before` may be lost.

    The reason is ``retention`` (the log has deleted them), ``damage`` (the log's file is damaged there),
    ``failover`` (its server has lost them) or ``other-log`` (the requested id is not from this log).
    """

    reason: str
    after: str | None
    before: str

    @classmethod
    def between(cls, reason: str, epoch: str, after: int, last: int) -> "Gap":
        """The hole after position `after` up to and including position `last`."""
        return cls(reason, format_id(epoch, after) if after else None, format_id(epoch, last + 1))

    @property
    def position(self) -> int:
        """Last position in the hole. For the hub only: to clients an id is opaque."""
        return parse_id(self.before)[1] - 1


def wants_metadata(query: str) -> bool:
    """True if a query contains ``extra-metadata=github``."""
    # Nearly all queries are empty, or this alone; parsing costs sixty times as much.
    return query == GITHUB_METADATA or ("extra-metadata" in query and ("extra-metadata", "github") in parse_qsl(query))


def format_id(epoch: str, position: int) -> str:
    """The id of the message at `position` in the log `epoch`."""
    return f"{epoch}-{position:015d}"


def check_id(text: Any) -> str:
    """The id unchanged, if it is one as clients may rely on: opaque, but short and harmless. Raises `ValueError`."""
    if not isinstance(text, str) or not _OPAQUE_ID.fullmatch(text):
        raise ValueError("a message id has 1 to 64 characters, of letters, digits and ._~-")
    return text


def parse_id(text: str) -> tuple[str, int]:
    """Epoch and position of an id; raises `ValueError` if the text is not an id."""
    match = _ID.fullmatch(text)
    if match is None:
        raise ValueError(f"not a message id: {text[:80]!r}")
    return match[1], int(match[2])


def wall_clock_us() -> int:
    """Current time in microseconds since 1970, by this machine's clock, which may be set back."""
    return time_ns() // 1000


def format_time(time_us: int) -> str:
    """RFC 3339 text of a time in microseconds since 1970, in UTC."""
    return (_EPOCH_START + timedelta(microseconds=time_us)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_time(text: str) -> int:
    """Microseconds since 1970 of an RFC 3339 time (section 5.6) without leap seconds; raises `ValueError`."""
    try:
        # fromisoformat accepts more of ISO 8601 than RFC 3339 does; _TIME excludes the rest.
        moment = datetime.fromisoformat(text.upper())
    except ValueError:
        moment = None
    if moment is None or not _TIME.fullmatch(text.upper()):
        raise ValueError(f"not an RFC 3339 time: {text[:80]!r}")
    return (moment - _EPOCH_START) // timedelta(microseconds=1)


def _size(of: Draft | Message) -> int:
    # Joined, because that is three times as fast as adding the sizes.
    headers = len("".join(chain.from_iterable(of.headers)))
    # Rough overhead: 64 bytes for id, time and row, 8 for the separators of each header.
    return len(of.body) + len(of.topic) + len(of.query) + headers + 8 * len(of.headers) + 64
