"""Sealed messages: encrypted before a log stores them, so that who has its files, or a copy of them, cannot read them.

In place of its body, a nonce is stored, and then its meta and its body, which AES-256-GCM has encrypted together, for
this position and topic: anywhere else, nothing can be made of it. In place of its meta are the id of the key, a
checksum of what is stored, as of every message, and the ids of those that it was made from. So damage is noticed and
copies are found as in any log, without a key. A log is copied and backed up as it is stored.
"""

import logging
import os
import sqlite3
from collections.abc import Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, TypeGuard
from zlib import crc32

from ..errors import ConfigError
from ..protocol.envelope import encode_json
from ..protocol.message import Message
from .contract import Page
from .sqlite_errors import GARBLED, raise_unless_damage
from .sqlite_rows import with_breaks
from .stored_message import StoredMessage, encode_meta

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from psycopg import Connection

# No other meta begins so. The id of the key follows.
_MARK = '{"sealed":"'
_KEY_ID_BYTES = 4
_KEY_ID = slice(len(_MARK), len(_MARK) + 2 * _KEY_ID_BYTES)
_NONCE_BYTES = 12
_LENGTH_BYTES = 4
# They tell nothing but which message is a copy of which.
_IN_CLEAR = ("routed_from", "replay_of", "duplicate_of")
# In both databases; what somebody has deleted is not there.
_NEWEST_META = "SELECT meta FROM body ORDER BY position DESC LIMIT 1"
KEY_OF_META = (
    f"CASE WHEN substr(meta, 1, {_KEY_ID.start}) = '{_MARK}' "
    f"THEN substr(meta, {_KEY_ID.start + 1}, {2 * _KEY_ID_BYTES}) ELSE '' END"
)
"""Expression in SQL for the id of the key of a message, from its stored meta; '' if it is not sealed."""

logger = logging.getLogger(__package__)


class Sealing:
    """The keys of a hub for what it stores: the first seals, all open. Without any, messages are stored as they are."""

    def __init__(self, keys: Sequence[bytes] = ()) -> None:
        self._keys = {key_id(key): _cipher(key) for key in keys}
        self._first = next(iter(self._keys), "")
        self._told: set[str] = set()

    def check(self, connection: "sqlite3.Connection | Connection[Any]") -> None:
        """Raise `ConfigError` unless the key of the newest message in a database is among these, or damage hides it."""
        try:
            newest = connection.execute(_NEWEST_META).fetchone()
        except GARBLED as error:
            raise_unless_damage(error)
            return
        if newest and str(newest[0]).startswith(_MARK) and (key := _key_of(newest[0])) not in self._keys:
            given = ", ".join(self._keys) or "none"
            raise ConfigError(
                f"the log is encrypted with the key {key}, which is not among those of --at-rest-key (given: {given})"
            )

    def seal(self, position: int, message: Message) -> tuple[str, bytes]:
        """The meta and the body that are stored of a message."""
        meta = encode_meta(message)
        if not self._first:
            return meta, message.body
        nonce, header = os.urandom(_NONCE_BYTES), meta.encode()
        plain = b"".join((len(header).to_bytes(_LENGTH_BYTES, "big"), header, message.body))
        sealed = nonce + self._keys[self._first].encrypt(nonce, plain, _place(position, message.topic))
        origins = {name: value for name in _IN_CLEAR if (value := getattr(message, name))}
        return encode_json({"sealed": self._first, "crc32": crc32(sealed), **origins}), sealed

    def open(self, page: Page) -> Page:
        """A page whose messages are opened, up to the first that cannot be; if that comes first, the page is a hole."""
        if not any(map(_is_sealed, page.messages)):
            return page
        opened: list[Message] = []
        hole = None
        for message in with_breaks(page.messages):
            found = self.find(message)
            if found is None and opened:
                return Page(opened, opened[-1].position)
            if found is None:
                hole = message.position
            elif hole:
                break
            else:
                opened.append(found)
        return Page([], hole, "damage") if hole else Page(opened, page.next_after, page.hole)

    def find(self, message: Message) -> Message | None:
        """A message as it was before it was sealed, if it was; None if it cannot be opened, which is logged."""
        if not _is_sealed(message):
            return message
        # It imports slowly, and is needed by those alone who have keys, or have lost one.
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415

        key, sealed, place = _key_of(message.meta), message.body, _place(message.position, message.topic)
        if key not in self._keys:
            self._tell(message, key, "which is not among those of --at-rest-key")
            return None
        try:
            plain = self._keys[key].decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], place)
        except (InvalidTag, ValueError):
            self._tell(message, key, "but not as it is now: it was changed, or put into another's place")
            return None
        end = _LENGTH_BYTES + int.from_bytes(plain[:_LENGTH_BYTES], "big")
        return message.having(plain[_LENGTH_BYTES:end].decode(), plain[end:])

    def _tell(self, message: Message, key: str, why: str) -> None:
        # Once for each, as there may be millions.
        if f"{key} {why}" not in self._told:
            self._told.add(f"{key} {why}")
            logger.error(
                "the message at position %d is encrypted with the key %s, %s: it and others like it are reported to "
                "subscribers as a gap",
                message.position,
                key,
                why,
            )


NO_KEYS = Sealing()


def key_id(key: bytes) -> str:
    """The name under which a key is mentioned: what it is stays secret."""
    return blake2b(key, digest_size=_KEY_ID_BYTES, person=b"hookbot at rest").hexdigest()


def _cipher(key: bytes) -> "AESGCM":
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415

    return AESGCM(key)


def _is_sealed(message: Message) -> TypeGuard[StoredMessage]:
    return isinstance(message, StoredMessage) and message.meta.startswith(_MARK)


def _key_of(meta: str) -> str:
    return meta[_KEY_ID]


def _place(position: int, topic: str) -> bytes:
    return f"{position} {topic}".encode()
