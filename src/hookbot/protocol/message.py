"""What is published (`Draft`), what the log makes of it (`Message`), and its one JSON form, the envelope.

An id is ``<epoch>-<position>``: eight letters that name the log, and fifteen digits that count its messages, so
that ids of one log sort as text, and no id can be read as a duration, a time or a word. To a client it is opaque.
"""

import json
import re
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl

Headers = tuple[tuple[str, str], ...]
"""Header fields in the order in which they came, as latin-1 text: repeated ones, odd cases and any bytes survive."""

_ID = re.compile(r"([a-z]{8})-([0-9]{15})")
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})")
_ENCODER = json.JSONEncoder(separators=(",", ":"))  # json.dumps would make a new one for every call
_EPOCH_START = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Verified:
    """How the hub knows who sent a message: by which provider's rule, with which secret, signed when (Unix seconds)."""

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
    """What a publisher hands over: a message that is not stored yet."""

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
        """When the log took it, UTC."""
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
        """Whether its raw frames carry the ancestor's ``extra-metadata=github`` object in place of the body."""
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


def format_time(time_us: int) -> str:
    """RFC 3339 in UTC with microseconds."""
    moment = _EPOCH_START + timedelta(microseconds=time_us)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_time(text: str) -> int:
    """Microseconds since 1970 of an RFC 3339 time, section 5.6; raises `ValueError`."""
    try:
        moment = datetime.fromisoformat(text.upper())  # which reads all of ISO 8601
    except ValueError:
        moment = None
    if moment is None or not _TIME.fullmatch(text.upper()):
        raise ValueError(f"not an RFC 3339 time: {text[:80]!r}")
    return (moment - _EPOCH_START) // timedelta(microseconds=1)


def to_envelope(message: Message) -> dict[str, Any]:
    """The message as the JSON object that every format but raw frames carries; empty optional fields are left out."""
    return envelope_around(message, _body_fields(message.body))


def envelope_around(message: Message, body_fields: Mapping[str, Any]) -> dict[str, Any]:
    """The envelope of a message whose body somebody else has encoded."""
    envelope: dict[str, Any] = {
        "id": message.id,
        "topic": message.topic,
        "time": format_time(message.time_us),
        "headers": message.headers,
        "query": message.query,
        **body_fields,
    }
    if message.verified:
        envelope["verified"] = _verified_fields(message.verified)
    if message.hops:
        envelope["hops"] = message.hops
    if message.duplicate_of:
        envelope["duplicate_of"] = message.duplicate_of
    if message.redelivered:
        envelope["redelivered"] = True
    return envelope


def from_envelope(envelope: dict[str, Any]) -> Message:
    """The message that `to_envelope` made the object of; raises `ValueError` if the object is no envelope."""
    try:
        return Message(
            topic=_text(envelope["topic"]),
            body=_body(envelope),
            headers=tuple((_text(name), _text(value)) for name, value in envelope["headers"]),
            query=_text(envelope["query"]),
            verified=_verified(verified) if (verified := envelope.get("verified")) else None,
            hops=tuple(map(_text, envelope.get("hops", ()))),
            duplicate_of=_text(first) if (first := envelope.get("duplicate_of")) else None,
            id=_text(envelope["id"]),
            time_us=parse_time(envelope["time"]),
            redelivered=envelope.get("redelivered") is True,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"not an envelope: {error!r:.200}") from None


def encode_json(value: Any) -> str:
    """Compact JSON in ASCII, so that no line reader trips over U+0085 or U+2028, and no proxy over the charset."""
    return _ENCODER.encode(value)


def _body_fields(body: bytes) -> dict[str, str]:
    try:
        return {"body": body.decode("utf-8")}
    except UnicodeDecodeError:
        return {"body_base64": b64encode(body).decode("ascii")}


def _verified_fields(verified: Verified) -> dict[str, Any]:
    return {f.name: value for f in fields(verified) if (value := getattr(verified, f.name)) is not None}


def _body(envelope: dict[str, Any]) -> bytes:
    if "body_base64" in envelope:
        return b64decode(envelope["body_base64"], validate=True)
    return _text(envelope["body"]).encode()


def _verified(verified: dict[str, Any]) -> Verified:
    return Verified(_text(verified["provider"]), _text(verified["key"]), verified.get("signed_at"))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"not text: {value!r:.80}")
    return value


def _size(of: Draft | Message) -> int:
    return len(of.body) + len(of.topic) + len(of.query) + sum([len(n) + len(v) + 8 for n, v in of.headers]) + 64


def encode_go_json(value: str | dict[str, str]) -> str:
    """Compact JSON as Go's encoding/json writes a string, or a map: keys sorted, ``<``, ``>``, ``&`` escaped.

    What is not Unicode (bytes decoded with ``surrogateescape``) becomes the escaped replacement character, each byte.
    """
    text = json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False)
    return text.translate(_GO_ESCAPES)


_GO_ESCAPES = {ord(char): f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"}
_GO_ESCAPES |= dict.fromkeys(range(0xD800, 0xE000), "\\ufffd")
