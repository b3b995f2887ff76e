"""The envelope: the JSON form of a message.

One call of `json` or `base64` on 25 MB holds the GIL for a tenth of a second, even in a worker thread. A large body
is therefore encoded in slices, and other threads run between them.
"""

import json
from base64 import b64decode
from codecs import getincrementaldecoder
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import fields
from io import BytesIO
from itertools import chain
from json.encoder import encode_basestring_ascii
from math import inf, isfinite
from time import sleep
from typing import Any

from pybase64 import b64encode

from ..errors import kind_of
from .message import MAX_TIME_US, Message, Verified, check_id, format_time, parse_time

# Larger bodies take more than about a millisecond to encode, hash or verify: too long for the event loop.
LARGE_BODY = 256 << 10
MAX_GROWTH = 2
"""Size of a large body as JSON text, in sizes of the body, above which an envelope has it in base64 instead: control
characters would take six times their size in the memory of the hub."""
# A slice takes a fraction of a millisecond. A multiple of 3, so that base64 has no padding between slices.
SLICE_BYTES = 48 << 10

# json.dumps with separators would create an encoder for every call.
_ENCODER = json.JSONEncoder(separators=(",", ":"))


class Sliced:
    """A JSON string, quotes included, that is encoded slice by slice while it is iterated; only once."""

    __slots__ = ("_slices",)

    def __init__(self, slices: Iterable[bytes]) -> None:
        self._slices = slices

    def __iter__(self) -> Iterator[bytes]:
        return chain((b'"',), self._slices, (b'"',))


def to_envelope(message: Message) -> dict[str, Any]:
    """The message as a JSON object, for all formats but raw frames and CloudEvents, without empty optional fields."""
    return envelope_around(message, _body_fields(message.body))


def envelope_around(message: Message, body_fields: Mapping[str, Any]) -> dict[str, Any]:
    """The envelope of a message with its body already encoded as `body_fields`."""
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
    if message.replay_of:
        envelope["replay_of"] = message.replay_of
    if message.routed_from:
        envelope["routed_from"] = message.routed_from
    if message.redelivered:
        envelope["redelivered"] = True
    return envelope


def encode_envelope(message: Message, *, before: bytes = b"", after: bytes = b"", **first: str) -> bytes:
    """The envelope as JSON in ASCII, with the fields `first` before its own; between the bytes `before` and `after`."""
    if len(message.body) > LARGE_BODY:
        fields = {**first, **envelope_around(message, body_in_slices(message.body))}
        return join_object(fields, before=before, after=after)
    return b"".join((before, encode_json({**first, **to_envelope(message)}).encode("ascii"), after))


def from_envelope(envelope: dict[str, Any]) -> Message:
    """The message in an envelope; unknown fields are ignored. Raises `ValueError` if the object is no envelope."""
    try:
        return Message(
            topic=text_of(envelope["topic"]),
            body=body_of(envelope),
            headers=tuple((text_of(name), text_of(value)) for name, value in envelope["headers"]),
            query=text_of(envelope["query"]),
            verified=_verified(verified) if (verified := envelope.get("verified")) else None,
            hops=tuple(map(text_of, envelope.get("hops", ()))),
            duplicate_of=_other_id(envelope, "duplicate_of"),
            replay_of=_other_id(envelope, "replay_of"),
            routed_from=_other_id(envelope, "routed_from"),
            id=check_id(envelope["id"]),
            time_us=_time_us(envelope["time"]),
            redelivered=envelope.get("redelivered") is True,
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ValueError(f"not an envelope: a field is missing or malformed ({error!s:.200})") from None


def text_of(value: Any) -> str:
    """The value, if it is a string that can be encoded; raises `TypeError` or `ValueError`."""
    # The kind only: the value may be nested so deeply that it cannot be shown.
    if not isinstance(value, str):
        raise TypeError(f"not a string, but {kind_of(value)}")
    # JSON can contain half a surrogate pair, which no terminal, file, header or body can.
    if not value.isascii():
        value.encode()
    return value


def body_of(envelope: dict[str, Any]) -> bytes:
    """The body in an envelope, or in another object with its fields; raises `KeyError`, `TypeError` or `ValueError`."""
    if "body_base64" in envelope:
        return b64decode(envelope["body_base64"], validate=True)
    return text_of(envelope["body"]).encode()


def encode_json(value: Any) -> str:
    """Compact JSON in ASCII: no line reader splits it at U+0085 or U+2028, and no proxy misreads its charset."""
    return _ENCODER.encode(value)


def encode_line(value: Any) -> bytes:
    """Line of JSON, as `encode_json` writes it."""
    return f"{encode_json(value)}\n".encode("ascii")


def encode_texts(texts: Iterable[str]) -> str:
    """JSON array of texts, as `encode_json` writes it, in a fraction of the time."""
    return f"[{','.join(map(encode_basestring_ascii, texts))}]"


def body_in_slices(body: bytes, *, slice_bytes: int = SLICE_BYTES) -> dict[str, Sliced]:
    """The body field of an envelope, encoded in slices: ``body`` if it can be text, otherwise ``body_base64``."""
    if _can_be_text(body, slice_bytes):
        return {"body": Sliced(_text_slices(body, slice_bytes))}
    return {"body_base64": base64_in_slices(body, slice_bytes=slice_bytes)}


def base64_field(body: bytes) -> Sliced:
    """The body in standard base64, as a value for `join_object`; in several slices if it is large."""
    return base64_in_slices(body) if len(body) > LARGE_BODY else Sliced((b64encode(body),))


def base64_in_slices(body: bytes, *, slice_bytes: int = SLICE_BYTES) -> Sliced:
    """The body in standard base64, encoded in slices; `slice_bytes` must be a multiple of 3."""
    return Sliced(map(b64encode, _slices(body, slice_bytes)))


def join_object(fields: Mapping[str, Any], *, before: bytes = b"", after: bytes = b"") -> bytes:
    """The JSON object of some fields, as `encode_json` writes it, between the bytes `before` and `after`."""
    parts: list[Iterable[bytes]] = [(before,)]
    separator = b"{"
    for name, value in fields.items():
        parts.append((separator, encode_json(name).encode(), b":"))
        parts.append(value if isinstance(value, Sliced) else (encode_json(value).encode(),))
        separator = b","
    return joined(*parts, (b"}", after))


def joined(*parts: Iterable[bytes]) -> bytes:
    """The bytes of all parts, which are taken one after the other."""
    # In one buffer, which takes not much more memory than the result: slices in a list would take twice as much.
    buffer = BytesIO()
    buffer.writelines(chain.from_iterable(parts))
    return buffer.getvalue()


def _can_be_text(body: bytes, slice_bytes: int) -> bool:
    """True for UTF-8, unless the body is large and its JSON string would be larger than `MAX_GROWTH` allows."""
    left = MAX_GROWTH * len(body) if len(body) > LARGE_BODY else inf
    try:
        # Encoded twice if it is text: what was encoded to be counted is not kept.
        for piece in _text_slices(body, slice_bytes):
            left -= len(piece)
            if left < 0:
                return False
    except UnicodeDecodeError:
        return False
    return True


def _text_slices(body: bytes, slice_bytes: int) -> Iterator[bytes]:
    decoder = getincrementaldecoder("utf-8")()
    for piece in _slices(body, slice_bytes):
        yield encode_json(decoder.decode(piece))[1:-1].encode("ascii")
    decoder.decode(b"", final=True)


def _slices(body: bytes, slice_bytes: int) -> Iterator[bytes]:
    for start in range(0, len(body), slice_bytes):
        # Offer the GIL to other threads; they would otherwise wait for the switch interval, which is 5 ms.
        sleep(0)
        yield body[start : start + slice_bytes]


def _body_fields(body: bytes) -> dict[str, str]:
    if len(body) <= LARGE_BODY or _can_be_text(body, SLICE_BYTES):
        with suppress(UnicodeDecodeError):
            return {"body": body.decode("utf-8")}
    return {"body_base64": b64encode(body).decode("ascii")}


def _verified_fields(verified: Verified) -> dict[str, Any]:
    return {f.name: value for f in fields(verified) if (value := getattr(verified, f.name)) is not None}


def _verified(verified: dict[str, Any]) -> Verified:
    source = verified.get("source")
    return Verified(
        text_of(verified["provider"]),
        text_of(verified["key"]),
        None if (signed_at := verified.get("signed_at")) is None else _finite(signed_at),
        None if source is None else text_of(source),
    )


def _other_id(envelope: dict[str, Any], name: str) -> str | None:
    return check_id(other) if (other := envelope.get(name)) else None


def _time_us(value: Any) -> int:
    time_us = parse_time(text_of(value))
    if not 0 <= time_us <= MAX_TIME_US:
        raise ValueError(f"no time from 1970 to 9999: {value:.80}")
    return time_us


def _finite(value: Any) -> float:
    if not isinstance(value, int | float) or not isfinite(value):
        raise TypeError(f"not a number, but {kind_of(value)}")
    return value
