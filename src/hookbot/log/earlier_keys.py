"""Keys of earlier versions, which are recognised until they expire.

In version 1 of the schema a key was the digest of two texts: its scope and the key itself. The scope of an idempotency
key was the topic, that of any other kind the kind, a space and the topic. So the idempotency keys of the topic
``replay /unsafe/stripe`` were also the replay keys of the source ``/unsafe/stripe``.

The fingerprint tells them apart: every idempotency key was stored with one, and no key of another kind.
"""

from collections.abc import Mapping

from ..protocol.message import Once
from .deduplication import FirstUse, digest_of


def earlier_digest(once: Once) -> bytes:
    """Digest by which an earlier version has stored the key."""
    scope = once.topic if once.kind == "idempotency" else f"{once.kind} {once.topic}"
    return digest_of(scope, once.key)


def earlier_uses(keys: Mapping[bytes, Once], stored: Mapping[bytes, FirstUse]) -> dict[bytes, FirstUse]:
    """First uses of `keys`, by the same digests, among those that are `stored` by their earlier ones."""
    return {
        key: use
        for key, once in keys.items()
        if (use := stored.get(earlier_digest(once))) and bool(use.fingerprint) is (once.kind == "idempotency")
    }
