"""Deduplication of drafts by their keys: each becomes a message, a `Duplicate` or `KeyReused`.

All engines share it; each stores the keys in its own way.
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
"""Result of appending one draft. `KeyReused` is returned, not raised, since the rest of the batch is stored."""


@dataclass(frozen=True, slots=True)
class FirstUse:
    """First use of a key: the message that was published with it."""

    position: int
    time_us: int
    unsafe: bool
    """True if an untrusted client chose the key; then it is deleted with its message at the latest. The key of a
    verified sender is kept for its full time: otherwise a flood of unsafe messages would make a replay possible."""
    fingerprint: bytes


def digest(once: Once) -> bytes:
    """Digest of kind, topic and key in 16 bytes, so that a long key takes no more space than a short one."""
    return digest_of(once.kind, once.topic, once.key)


def digest_of(*parts: str) -> bytes:
    """Digest of texts: as a JSON array, so that they cannot be divided in another way."""
    return blake2b(encode_json(parts).encode(), digest_size=16).digest()


@dataclass(slots=True)
class Batch:
    """Drafts of one commit. Each gets the next position, unless one of its exclusive keys was used before."""

    epoch: str
    head: int
    time_us: int
    known: Mapping[bytes, FirstUse]
    """First uses that the log has stored, at least for the keys of these drafts."""
    keys: dict[bytes, FirstUse] = field(default_factory=dict)
    """First uses in this batch, for the log to store."""
    stored: list[tuple[Row, Message]] = field(default_factory=list)
    """Messages of this batch, for the log to store."""

    def add(self, draft: Draft) -> Outcome:
        """Add a draft and return it as a message with the next id, or the reason why it is not stored."""
        duplicate_of = None
        for once in draft.once:
            first = self._first_use(digest(once))
            if first and once.exclusive:
                return self._refuse(once, first)
            if first and duplicate_of is None:
                duplicate_of = format_id(self.epoch, first.position)
        return self._store(draft, duplicate_of)

    def rows(self, *, unsafe: bool) -> list[Row]:
        """Rows of the safe or the unsafe partition."""
        return [row for row, message in self.stored if is_unsafe(message.topic) is unsafe]

    @property
    def positions(self) -> list[tuple[str, int]]:
        """Topic and position of each message, in order."""
        return [(message.topic, row[0]) for row, message in self.stored]

    def _first_use(self, key: bytes) -> FirstUse | None:
        return self.known.get(key) or self.keys.get(key)

    def _refuse(self, once: Once, first: FirstUse) -> Duplicate | KeyReused:
        if once.fingerprint and first.fingerprint and once.fingerprint != first.fingerprint:
            return KeyReused(f"the key {once.key[:80]!r} was used before with a different body")
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
        # A dictionary, since a draft may name one key twice.
        for key, once in {digest(once): once for once in draft.once}.items():
            if self._first_use(key) is None:
                unsafe = is_unsafe(draft.topic) and draft.verified is None
                self.keys[key] = FirstUse(self.head, self.time_us, unsafe, once.fingerprint)
        return message
