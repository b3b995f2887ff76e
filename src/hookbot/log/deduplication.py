"""Deduplication: a draft becomes a message, or a duplicate of an earlier one that brought the same key.

The same in every engine; each brings what it remembers of the keys.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b

from ..errors import KeyReused
from ..protocol.envelope import encode_json
from ..protocol.message import Draft, Duplicate, Message, Once, format_id
from ..protocol.topics import is_unsafe
from .retention import Row

Outcome = Message | Duplicate | KeyReused
"""The result for one draft. A `KeyReused` is returned, not raised: the rest of its batch is stored."""


@dataclass(frozen=True, slots=True)
class FirstUse:
    """The message that brought a key first."""

    position: int
    time_us: int
    unsafe: bool
    """Whether an untrusted client brought it, so that it goes with its message. One of a verified sender does not:
    whoever fills the unsafe topics must not make a replay pass."""
    fingerprint: bytes


def digest(once: Once) -> bytes:
    """Sixteen bytes that stand for scope and key, so that a long key costs no more than a short one."""
    return blake2b(encode_json([once.scope, once.key]).encode(), digest_size=16).digest()


@dataclass(slots=True)
class Batch:
    """The drafts of one commit: each is given the next position, unless a key says that it was here before."""

    epoch: str
    head: int
    time_us: int
    known: Mapping[bytes, FirstUse]
    """First uses of their keys that the log remembers."""
    keys: dict[bytes, FirstUse] = field(default_factory=dict)
    """First uses in this batch, for the log to remember."""
    stored: list[tuple[Row, Message]] = field(default_factory=list)
    """Messages for the log to store."""

    def add(self, draft: Draft) -> Outcome:
        """The draft as a message with the next id; or why it is not stored."""
        duplicate_of = None
        for once in draft.once:
            first = self._first_use(digest(once))
            if first and once.exclusive:
                return self._refuse(once, first)
            if first and duplicate_of is None:
                duplicate_of = format_id(self.epoch, first.position)
        return self._store(draft, duplicate_of)

    def rows(self, *, unsafe: bool) -> list[Row]:
        """The rows for one partition of the log."""
        return [row for row, message in self.stored if is_unsafe(message.topic) is unsafe]

    @property
    def positions(self) -> list[tuple[str, int]]:
        """Topic and position of each message."""
        return [(message.topic, row[0]) for row, message in self.stored]

    def _first_use(self, key: bytes) -> FirstUse | None:
        return self.known.get(key) or self.keys.get(key)

    def _refuse(self, once: Once, first: FirstUse) -> Duplicate | KeyReused:
        if once.fingerprint and first.fingerprint and once.fingerprint != first.fingerprint:
            return KeyReused(f"the key {once.key[:80]!r} was used before, with another body")
        return Duplicate(format_id(self.epoch, first.position))

    def _store(self, draft: Draft, duplicate_of: str | None) -> Message:
        self.head += 1
        message = Message(
            topic=draft.topic,
            body=draft.body,
            headers=draft.headers,
            query=draft.query,
            verified=draft.verified,
            hops=draft.hops,
            duplicate_of=duplicate_of,
            id=format_id(self.epoch, self.head),
            time_us=self.time_us,
        )
        self.stored.append(((self.head, self.time_us, draft.size), message))
        for key, once in {digest(once): once for once in draft.once}.items():
            if self._first_use(key) is None:
                unsafe = is_unsafe(draft.topic) and draft.verified is None
                self.keys[key] = FirstUse(self.head, self.time_us, unsafe, once.fingerprint)
        return message
