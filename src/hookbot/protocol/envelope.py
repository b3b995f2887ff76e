"""The envelope: the one JSON form of a message, and large bodies in it.

One call of `json` or `base64` on 25 MB holds the interpreter for a tenth of a second, in whichever thread
it is made. So a large body becomes JSON slice by slice, and between slices everybody else gets a turn.
"""

import json
from base64 import b64decode, b64encode
from codecs import getincrementaldecoder
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from time import sleep
from typing import Any

from .message import Message, Verified, format_time, parse_time

LARGE_BODY = 256 << 10  # takes more than a millisecond or so to encode, to hash or to verify
SLICE_BYTES = 48 << 10  # takes a fraction of a millisecond; a multiple of 3, so that base64 has no padding inside

_ENCODER = json.JSONEncoder(separators=(",", ":"))  # json.dumps would make a new one for every call


class Sliced(tuple[bytes, ...]):
    """A JSON string in pieces, quotes included."""


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


def encode_go_json(value: str | dict[str, str]) -> str:
    """Compact JSON as Go's encoding/json writes a string, or a map: keys sorted, ``<``, ``>``, ``&`` escaped.

    What is not Unicode (bytes decoded with ``surrogateescape``) becomes the escaped replacement character, each byte.
    """
    text = json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False)
    return text.translate(_GO_ESCAPES)


def body_in_slices(body: bytes) -> dict[str, Sliced]:
    """The body's field of an envelope: ``body`` if it is UTF-8, otherwise ``body_base64``."""
    try:
        return {"body": Sliced((b'"', *_text_slices(body), b'"'))}
    except UnicodeDecodeError:
        return {"body_base64": base64_in_slices(body)}


def base64_in_slices(body: bytes) -> Sliced:
    """The body in standard base64."""
    return Sliced((b'"', *map(b64encode, _slices(body)), b'"'))


def join_object(fields: Mapping[str, Any], encode: Callable[[Any], str] = encode_json) -> bytes:
    """A JSON object, as `encode` would write it, of values of which some are `Sliced`."""
    parts = [b"{"]
    for name, value in fields.items():
        parts.append(encode(name).encode() + b":")
        parts += value if isinstance(value, Sliced) else [encode(value).encode()]
        parts.append(b",")
    parts[-1] = b"}"
    return b"".join(parts)  # lets go of the interpreter by itself


def _text_slices(body: bytes) -> Iterator[bytes]:
    decoder = getincrementaldecoder("utf-8")()
    for piece in _slices(body):
        yield encode_json(decoder.decode(piece))[1:-1].encode("ascii")
    decoder.decode(b"", final=True)


def _slices(body: bytes) -> Iterator[bytes]:
    for start in range(0, len(body), SLICE_BYTES):
        sleep(0)  # otherwise a thread that waits has to wait for the switch interval, 5 ms
        yield body[start : start + SLICE_BYTES]


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


_GO_ESCAPES = {ord(char): f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"}
_GO_ESCAPES |= dict.fromkeys(range(0xD800, 0xE000), "\\ufffd")
