"""Drafts, which publishers hand over, and messages, which the log makes of them.

An id is ``<epoch>-<position>``: eight letters that name the log, and fifteen digits that count its messages, so
that ids of one log sort as text, and no id can be read as a duration, a time or a word. To a client it is opaque.
"""

import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from time import time_ns
from typing import Any
from urllib.parse import parse_qsl

Headers = tuple[tuple[str, str], ...]
"""Header fields in the order in which they came, as latin-1 text: repeated ones, odd cases and any bytes survive."""

_ID = re.compile(r"([a-z]{8})-([0-9]{15})")
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})")
_EPOCH_START = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Verified:
    """Proof of a message's sender: by which provider's rule, with which secret, signed when (Unix seconds)."""

    provider: str
    key: str
    signed_at: float | None = None


@dataclass(frozen=True, slots=True)
class Once:
    """A key under which the log accepts a draft once, remembered with the message, in the same commit.

    A draft whose key (within its scope) is known already is not stored again when `exclusive`; otherwise it
    is stored and marked `duplicate_of` the first. With a `fingerprint`, the same key with another one is refused.
    """

    scope: str
    key: str
    exclusive: bool = True
    fingerprint: bytes = b""


@dataclass(frozen=True, slots=True)
class Draft:
    """A message that a publisher hands over, not stored yet."""

    topic: str
    body: bytes = b""
    headers: Headers = ()
    query: str = ""
    verified: Verified | None = None
    hops: tuple[str, ...] = ()
    once: tuple[Once, ...] = ()

    @property
    def size(self) -> int:
        """About how many bytes it takes in memory and on disk."""
        return _size(self)


@dataclass(frozen=True, slots=True)
class Message:
    """A draft that the log has taken: it has an id, and it stays."""

    topic: str
    body: bytes = b""
    headers: Headers = ()
    query: str = ""
    verified: Verified | None = None
    hops: tuple[str, ...] = ()
    duplicate_of: str | None = None
    id: str = ""
    time_us: int = 0
    """Microseconds since 1970, UTC; never runs backwards in the order of ids."""
    redelivered: bool = field(default=False, compare=False)
    """Whether another member of the same group was given it before and did not acknowledge it."""

    @property
    def size(self) -> int:
        """About how many bytes it takes in memory and on disk."""
        return _size(self)

    @property
    def time(self) -> datetime:
        """The time at which the log took it, UTC."""
        return _EPOCH_START + timedelta(microseconds=self.time_us)

    @property
    def position(self) -> int:
        """Its place in its log, counting from 1. Only the hub may look inside an id."""
        return int(self.id[-15:])

    def header(self, name: str) -> str | None:
        """The first header of that name, in any case; None if there is none."""
        wanted = name.lower()
        return next((value for key, value in self.headers if key.lower() == wanted), None)

    def json(self) -> Any:
        """The body read as JSON; raises `ValueError` if it is none."""
        return json.loads(self.body)

    @property
    def wrapped(self) -> bool:
        """True if its raw frames carry the ancestor's ``extra-metadata=github`` object in place of the body."""
        return wants_metadata(self.query)


@dataclass(frozen=True, slots=True)
class Duplicate:
    """The answer to a draft whose `Once` key was known: nothing was stored; `id` is the first message's."""

    id: str


@dataclass(frozen=True, slots=True)
class Gap:
    """A hole in a subscription: messages after `after` (None: not known) and before `before` may be lost.

    The reason is ``retention`` (the log keeps them no longer) or ``other-log`` (the id asked for is not of this log).
    """

    reason: str
    after: str | None
    before: str

    @property
    def position(self) -> int:
        """The position before the first message after the hole. Only the hub may look inside an id."""
        return parse_id(self.before)[1] - 1


def wants_metadata(query: str) -> bool:
    """Whether a query asks for ``extra-metadata=github``."""
    return "extra-metadata" in query and ("extra-metadata", "github") in parse_qsl(query)


def format_id(epoch: str, position: int) -> str:
    """The id of the message at `position` in the log `epoch`."""
    return f"{epoch}-{position:015d}"


def parse_id(text: str) -> tuple[str, int]:
    """Epoch and position; raises `ValueError` if the text is no id."""
    match = _ID.fullmatch(text)
    if match is None:
        raise ValueError(f"not a message id: {text[:80]!r}")
    return match[1], int(match[2])


def wall_clock_us() -> int:
    """Microseconds since 1970, by the clock of this machine."""
    return time_ns() // 1000


def format_time(time_us: int) -> str:
    """RFC 3339 in UTC with microseconds."""
    return (_EPOCH_START + timedelta(microseconds=time_us)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_time(text: str) -> int:
    """Microseconds since 1970 of an RFC 3339 time, section 5.6; raises `ValueError`."""
    try:
        moment = datetime.fromisoformat(text.upper())  # which reads all of ISO 8601
    except ValueError:
        moment = None
    if moment is None or not _TIME.fullmatch(text.upper()):
        raise ValueError(f"not an RFC 3339 time: {text[:80]!r}")
    return (moment - _EPOCH_START) // timedelta(microseconds=1)


def _size(of: Draft | Message) -> int:
    return len(of.body) + len(of.topic) + len(of.query) + sum([len(n) + len(v) + 8 for n, v in of.headers]) + 64
