"""Messages as a log on disk stores and reads them: what only some readers ask for is decoded when they do."""

import json
import logging
from collections.abc import Mapping
from dataclasses import fields
from typing import Any
from zlib import crc32

from ..protocol.envelope import encode_json, encode_texts
from ..protocol.message import Message, Verified, format_id
from .sqlite_errors import GARBLED

# SQLite takes control characters in strings for JSON, so damage of a header may make some.
_DECODER = json.JSONDecoder(strict=False)

# Fields of a message in its meta, beside those that most messages have.
_RARE = ("query", "hops", "duplicate_of", "replay_of", "routed_from")

logger = logging.getLogger(__package__)

Row = tuple[str, int, int, int, str]
"""Epoch, position, time, size and meta of a message: JSON text of the fields that have no column of their own."""


class StoredMessage(Message):
    """A message whose id, time, headers and other fields are decoded from its row when one of them is asked for.

    Raw frames need only its topic and its body, and those who catch up are sent thousands of them. To all others it is
    a `Message`: equal to one with the same fields, and what `dataclasses.replace` makes of it is one.
    """

    __slots__ = ("_row",)

    _row: Row

    @classmethod
    def of(cls, topic: str, body: bytes, row: Row) -> "StoredMessage":
        """The message in a row."""
        message = cls.__new__(cls)
        # Frozen, and not made by the constructor, which would need all fields.
        object.__setattr__(message, "topic", topic)
        object.__setattr__(message, "body", body)
        object.__setattr__(message, "_row", row)
        return message

    @property  # type: ignore[misc]
    def __class__(self) -> type[Message]:  # type: ignore[override]
        return Message

    def __reduce__(self) -> tuple[Any, ...]:
        # A copy is a plain message, too.
        return Message, tuple(getattr(self, field.name) for field in fields(self) if field.init)

    @property
    def position(self) -> int:
        return self._row[1]

    @property
    def size(self) -> int:
        return self._row[3]

    @property
    def meta(self) -> str:
        """Its meta as it is stored: nothing is decoded."""
        return self._row[-1]

    @property
    def stored(self) -> tuple[int, int, int, str]:
        """Position, time, size and meta, as they are stored: nothing is decoded."""
        return self._row[1:]

    def having(self, meta: str, body: bytes) -> "StoredMessage":
        """The message at the same place with another meta and another body."""
        return StoredMessage.of(self.topic, body, (*self._row[:-1], meta))

    @property
    def wrapped(self) -> bool:
        return "extra-metadata" in self._row[-1] and super().wrapped

    def __getattr__(self, name: str) -> Any:
        """Field that was not decoded yet. Raises `AttributeError` if there is none of this name."""
        for field, value in self._decode().items():
            object.__setattr__(self, field, value)
        return object.__getattribute__(self, name)

    def _decode(self) -> Mapping[str, Any]:
        try:
            return decode_fields(self._row)
        except GARBLED as error:
            # Its body is what was stored, and some readers may have been sent it by now: too late for a hole.
            logger.error(
                "the headers of the message at position %d are damaged: it is served without them: %s",
                self.position,
                error,
            )
            return decode_fields((*self._row[:-1], "{}"))


def encode_meta(message: Message) -> str:
    """JSON of the fields that have no column of their own, and of the checksum of the body."""
    rare: dict[str, Any] = {name: value for name in _RARE if (value := getattr(message, name))}
    if message.verified:
        # Apart from the source, which older hubs do not know: they can still read the log.
        verified = message.verified
        rare["verified"], rare["source"] = [verified.provider, verified.key, verified.signed_at], verified.source
    members = [encode_json(rare)[1:-1]] if rare else []
    if message.headers:
        members.append(f'"headers":[{",".join(map(encode_texts, message.headers))}]')
    # SQLite has no checksums: in the middle of a large body, damage would go unnoticed.
    if message.body:
        members.append(f'"crc32":{crc32(message.body)}')
    return f"{{{','.join(members)}}}"


def decode_fields(row: Row) -> Mapping[str, Any]:
    """The fields of a message beside its topic and its body. Raises errors of `GARBLED` if they are garbled."""
    epoch, position, time_us, _, text = row
    meta = _DECODER.decode(text)
    return {
        "headers": tuple(map(tuple, meta.get("headers", ()))),
        "query": meta.get("query", ""),
        "verified": _verified(meta) if "verified" in meta else None,
        "hops": tuple(meta.get("hops", ())),
        "duplicate_of": meta.get("duplicate_of"),
        "replay_of": meta.get("replay_of"),
        "routed_from": meta.get("routed_from"),
        "id": format_id(epoch, position),
        "time_us": time_us,
        "redelivered": False,
    }


def _verified(meta: Mapping[str, Any]) -> Verified:
    provider, key, signed_at = meta["verified"]
    return Verified(provider, key, signed_at, meta.get("source"))
