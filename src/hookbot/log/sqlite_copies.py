"""Copies in the SQLite log: found without reading a body. It runs in threads."""

import json
import sqlite3
from collections.abc import Sequence

from .copies import Copy, find_copies, mark_of
from .sqlite_errors import GARBLED, raise_unless_damage
from .sqlite_rows import with_breaks

# Others are left out before they are parsed.
_COPIES = """
    SELECT json_group_array(json_array(
        position, topic, json(json_extract(meta, '$.routed_from', '$.replay_of', '$.duplicate_of'))
    ))
    FROM (
        SELECT position, topic, meta FROM log CROSS JOIN body USING (position)
        WHERE position {these} AND instr(meta, ?) ORDER BY position
    )
    """
_IN_RANGE = _COPIES.format(these="> ? AND position <= ?")
_AT = _COPIES.format(these="= ?")


def load_copies(connection: sqlite3.Connection, epoch: str, low: int, high: int) -> Sequence[Copy]:
    """The copies after position `low`, up to and including `high`, but for those that damage makes unreadable."""
    try:
        return _load(connection, epoch, _IN_RANGE, low, high)
    except GARBLED as error:
        raise_unless_damage(error)
    return [
        copy for position in with_breaks(range(low + 1, high + 1)) for copy in _load_at(connection, epoch, position)
    ]


def _load_at(connection: sqlite3.Connection, epoch: str, position: int) -> Sequence[Copy]:
    try:
        return _load(connection, epoch, _AT, position)
    except GARBLED as error:
        raise_unless_damage(error)
        return ()


def _load(connection: sqlite3.Connection, epoch: str, query: str, *positions: int) -> Sequence[Copy]:
    [found] = connection.execute(query, (*positions, mark_of(epoch))).fetchone()
    return find_copies(epoch, json.loads(found))
