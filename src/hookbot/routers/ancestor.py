"""Messages as they come from a hub that speaks only raw frames: without id, headers and query."""

from dataclasses import replace
from itertools import count

from ..protocol.envelope import parse_github_metadata
from ..protocol.message import Message

RAW = "raw-"
"""What the ids begin with that are made here."""

_numbers = count(1)


def unwrap(message: Message) -> Message:
    """The message as it was posted, as far as a raw frame tells; with an id that is good for log lines only."""
    message = replace(message, id=f"{RAW}{next(_numbers)}")
    return parse_github_metadata(message) or message
