"""Copies: messages that say which others of the log they were made from, or repeat."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from ..protocol.message import parse_id

# Scanned in some milliseconds: of each message, only what surrounds its body is read.
SCAN_LENGTH = 2000


class Copy(NamedTuple):
    """A message that was routed from others, is a replay of one, or a duplicate."""

    position: int
    topic: str
    origins: Sequence[int]
    """Positions of those that it names."""


class CopiesPage(NamedTuple):
    """Consecutive copies, in order; the next page starts after position `next_after`."""

    copies: Sequence[Copy]
    next_after: int


Named = tuple[int, str, Iterable[str | None]]
"""Position and topic of a message, and the ids of those that it names, where it has some."""


def mark_of(epoch: str) -> str:
    """The text that is in the stored fields of each copy: a field whose value is an id of the log `epoch`."""
    return f'":"{epoch}-'


def find_copies(shared: Mapping[str, int], messages: Iterable[Named]) -> Sequence[Copy]:
    """The copies among messages. Raises `ValueError` for what is no id.

    `shared` are the logs whose ids name messages here, by their epochs: each up to a position.
    """
    copies = [
        Copy(position, topic, [of for epoch, of in map(parse_id, filter(None, ids)) if of <= shared.get(epoch, -1)])
        for position, topic, ids in messages
    ]
    return [copy for copy in copies if copy.origins]
