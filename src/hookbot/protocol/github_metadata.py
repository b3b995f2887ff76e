"""The ancestor's JSON object of a delivery: GitHub's headers, and the body in base64."""

import json
import re
from base64 import b64decode
from dataclasses import replace
from json.encoder import encode_basestring

from .bodies import FORM
from .envelope import base64_field, joined
from .message import GITHUB_METADATA, Message

# What Go escapes beyond JSON's own rules.
_GO_ESCAPED = re.compile("[<>&\u2028\u2029\ud800-\udfff]")

_GITHUB_HEADERS = {
    "Delivery": "X-GitHub-Delivery",
    "Event": "X-GitHub-Event",
    "Signature": "X-Hub-Signature",
    "Signature256": "X-Hub-Signature-256",
}
_GITHUB_FIELDS = {name.lower(): field for field, name in _GITHUB_HEADERS.items()}


def encode_github_metadata(message: Message, *, before: bytes = b"") -> bytes:
    """The ancestor's JSON object for ``extra-metadata=github``, with GitHub's newer signature added; after `before`."""
    fields = dict.fromkeys((*_GITHUB_HEADERS, "Payload"), "")
    # The first of each name.
    for name, value in reversed(message.headers):
        if field := _GITHUB_FIELDS.get(name.lower()):
            fields[field] = _as_go_reads(value)
    # No value has this in it: the quotation marks of one are escaped.
    start, payload, end = encode_go_json(fields).encode().partition(b'"Payload":')
    return joined((before, start, payload), base64_field(message.body), (end[2:],))


def parse_github_metadata(message: Message) -> Message | None:
    """The original delivery in a raw frame of `encode_github_metadata`; None for any other frame.

    The object has no content type, so it is derived from the payload.
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
    content_type = FORM if body.startswith(b"payload=") else "application/json"
    return replace(message, body=body, headers=(("Content-Type", content_type), *headers), query=GITHUB_METADATA)


def encode_go_json(value: dict[str, str]) -> str:
    """Compact JSON as Go's encoding/json writes a map, with sorted keys.

    ``<``, ``>``, ``&``, U+2028 and U+2029 are escaped. Each byte that is not UTF-8 (decoded with ``surrogateescape``)
    becomes an escaped replacement character.
    """
    fields = [f"{encode_basestring(name)}:{encode_basestring(text)}" for name, text in sorted(value.items())]
    text = f"{{{','.join(fields)}}}"
    # Mostly there is nothing to escape, and the pattern would take as long as all the rest.
    plain = text.isascii() and "<" not in text and ">" not in text and "&" not in text
    return text if plain else _GO_ESCAPED.sub(_go_escape, text)


def _as_go_reads(value: str) -> str:
    """Value of a header with its bytes read as UTF-8."""
    return value if value.isascii() else value.encode("latin-1", "replace").decode("utf-8", "surrogateescape")


def _go_escape(match: re.Match[str]) -> str:
    character = match[0]
    return "\\ufffd" if "\ud800" <= character <= "\udfff" else f"\\u{ord(character):04x}"
