"""JSON forms of a message: the envelope, and the ancestor's object with GitHub's headers; large bodies in both.

One call of `json` or `base64` on 25 MB holds the interpreter for a tenth of a second, in whichever thread
it is made. So a large body becomes JSON slice by slice, and between slices everybody else gets a turn.
"""

import json
from base64 import b64decode, b64encode
from codecs import getincrementaldecoder
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, replace
from time import sleep
from typing import Any

from .message import Message, Verified, format_time, parse_time

LARGE_BODY = 256 << 10  # takes more than a millisecond or so to encode, to hash or to verify
SLICE_BYTES = 48 << 10  # takes a fraction of a millisecond; a multiple of 3, so that base64 has no padding inside

_ENCODER = json.JSONEncoder(separators=(",", ":"))  # json.dumps would make a new one for every call


_GITHUB_HEADERS = {
    "Delivery": "X-GitHub-Delivery",
    "Event": "X-GitHub-Event",
    "Signature": "X-Hub-Signature",
    "Signature256": "X-Hub-Signature-256",
}


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


def encode_envelope(message: Message, **first: str) -> bytes:
    """The envelope as JSON, with the fields `first` before its own."""
    if len(message.body) > LARGE_BODY:
        return join_object({**first, **envelope_around(message, body_in_slices(message.body))})
    return encode_json({**first, **to_envelope(message)}).encode("ascii")


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


def encode_github_metadata(message: Message) -> bytes:
    """The ancestor's object for ``extra-metadata=github``, and the newer signature; Go sorts the keys of a map."""
    headers = {field: _go_header(message, name) for field, name in _GITHUB_HEADERS.items()}
    metadata = {**headers, "Payload": base64_field(message.body)}
    return join_object(dict(sorted(metadata.items())), encode=encode_go_json)


def parse_github_metadata(message: Message) -> Message | None:
    """The delivery in a raw frame that `encode_github_metadata` made; None for any other frame.

    The object has GitHub's headers; the content type follows from the payload.
    """
    try:
        metadata = json.loads(message.body)
        body = b64decode(metadata["Payload"], validate=True)
        headers = [
            (_GITHUB_HEADERS[field], value) for field, value in metadata.items() if field in _GITHUB_HEADERS and value
        ]
        event, signature = metadata["Event"], metadata["Signature"]
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return None
    if not isinstance(event, str) or not isinstance(signature, str):
        return None
    content_type = "application/x-www-form-urlencoded" if body.startswith(b"payload=") else "application/json"
    return replace(
        message, body=body, headers=(("Content-Type", content_type), *headers), query="extra-metadata=github"
    )


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


def base64_field(body: bytes) -> str | Sliced:
    """The body in standard base64, as a value for `join_object`."""
    return base64_in_slices(body) if len(body) > LARGE_BODY else b64encode(body).decode("ascii")


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


def _go_header(message: Message, name: str) -> str:
    """The bytes of a header are UTF-8 to Go."""
    return (message.header(name) or "").encode("latin-1", "replace").decode("utf-8", "surrogateescape")


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
