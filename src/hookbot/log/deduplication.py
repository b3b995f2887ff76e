"""Deduplication of drafts by their keys: each becomes a message, a `Duplicate` or `KeyReused`.

All engines share it; each stores the keys in its own way.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from operator import attrgetter

from ..errors import KeyReused
from ..protocol.envelope import encode_texts
from ..protocol.message import Draft, Duplicate, Message, Once, format_id
from ..protocol.topics import is_unsafe
from .retention import Row

Outcome = Message | Duplicate | KeyReused
"""Result of appending one draft. `KeyReused` is returned, not raised, since the rest of the batch is stored."""


SizeOf = Callable[[Message], int]
"""Function for the size of a message, as a log counts it."""

own_size: SizeOf = attrgetter("size")


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
    return blake2b(encode_texts(parts).encode(), digest_size=16).digest()


@dataclass(slots=True)
class Batch:
    """Drafts of one commit. Each gets the next position, unless one of its exclusive keys was used before."""

    epoch: str
    head: int
    time_us: int
    known: Mapping[bytes, FirstUse]
    """First uses that the log has stored, at least for the keys of these drafts."""
    size_of: SizeOf = own_size
    keys: dict[bytes, FirstUse] = field(default_factory=dict)
    """First uses in this batch, for the log to store."""
    stored: list[tuple[Row, Message]] = field(default_factory=list)
    """Messages of this batch, for the log to store."""
    rows: tuple[list[Row], list[Row]] = field(default_factory=lambda: ([], []))
    """Rows of the safe and of the unsafe partition."""

    def add(self, draft: Draft) -> Outcome:
        """Add a draft and return it as a message with the next id, or the reason why it is not stored."""
        duplicate_of = None
        for once in draft.once:
            first = self._first_use(digest(once))
            if first and once.exclusive:
                return self._refuse(once, first)
            if first and duplicate_of is None:
                duplicate_of = format_id(self.epoch, first.position)
        self.head += 1
        message = draft.stored(self.epoch, self.head, self.time_us, duplicate_of)
        row = self.head, self.time_us, self.size_of(message)
        self.stored.append((row, message))
        self.rows[is_unsafe(draft.topic)].append(row)
        # Those of an earlier draft stay, also if this one names a key twice.
        for once in draft.once:
            if self._first_use(key := digest(once)) is None:
                self.keys[key] = FirstUse(self.head, self.time_us, draft.unverified, once.fingerprint)
        return message

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
