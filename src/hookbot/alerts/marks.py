"""Marks: what the log keeps of each subject that is watched, as a saved cursor, so that a restart tells nothing again.

They are there for longer than messages, and every hub of a family can read them.
"""

import json
from collections.abc import Mapping
from typing import NamedTuple

from ..log.contract import Log, Noted
from ..protocol.envelope import encode_json
from .subjects import AlertShown

MARK = "alert "
"""Beginning of the names of these cursors, before the key of a subject."""
UP = "up"
"""Key of the mark whose time is when a hub last watched, in place of that of a subject."""


class Mark(NamedTuple):
    """Mark of a subject: since when it is silent or behind, and what was told of that, if it was."""

    since_us: int
    told: AlertShown | None = None

    @property
    def noted(self) -> Noted:
        """Its form in the log: a time in place of a position."""
        return Noted(self.since_us, encode_json(self.told) if self.told else "")


async def read_marks(log: Log) -> Mapping[str, Mark]:
    """Marks in the log, by the keys of their subjects. Raises `Unavailable`."""
    return {
        cursor.name.removeprefix(MARK): Mark(cursor.position, json.loads(cursor.note) if cursor.note else None)
        for cursor in await log.cursors(MARK)
    }
