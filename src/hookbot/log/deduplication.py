"""Deduplication of drafts by their keys: each becomes a message, a `Duplicate` or `KeyReused`.

All engines share it (`batch.Batch`); each stores the keys in its own way.
"""

from dataclasses import dataclass
from hashlib import blake2b

from ..errors import KeyReused
from ..protocol.envelope import encode_texts
from ..protocol.message import Duplicate, Message, Once, format_id

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
    return blake2b(encode_texts(parts).encode(), digest_size=16).digest()


def refusal(once: Once, first: FirstUse, epoch: str) -> Duplicate | KeyReused:
    """Outcome of a draft whose exclusive key has a first use."""
    if once.fingerprint and first.fingerprint and once.fingerprint != first.fingerprint:
        return KeyReused(f"the key {once.key[:80]!r} was used before with a different body")
    return Duplicate(format_id(epoch, first.position))
