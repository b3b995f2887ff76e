"""Messages as they come from a hub that speaks only raw frames: without id, headers and query."""

import json
from base64 import b64decode
from dataclasses import replace
from itertools import count

from ..protocol.message import Message

RAW = "raw-"
"""What the ids begin with that are made here."""

_HEADERS = {
    "Delivery": "X-GitHub-Delivery",
    "Event": "X-GitHub-Event",
    "Signature": "X-Hub-Signature",
    "Signature256": "X-Hub-Signature-256",
}
_numbers = count(1)


def unwrap(message: Message) -> Message:
    """The message as it was posted, as far as a raw frame tells; with an id that is good for log lines only.

    A frame with ``extra-metadata=github`` tells GitHub's headers; the content type follows from the body.
    """
    message = replace(message, id=f"{RAW}{next(_numbers)}")
    try:
        fields = json.loads(message.body)
        body = b64decode(fields["Payload"], validate=True)
        found = [(_HEADERS[name], value) for name, value in fields.items() if name in _HEADERS and value]
        event, signature = fields["Event"], fields["Signature"]
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return message
    if not isinstance(event, str) or not isinstance(signature, str):
        return message
    return replace(message, body=body, headers=(_content_type(body), *found), query="extra-metadata=github")


def _content_type(body: bytes) -> tuple[str, str]:
    form = body.startswith(b"payload=")
    return "Content-Type", "application/x-www-form-urlencoded" if form else "application/json"
