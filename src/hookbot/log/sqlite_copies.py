"""Copies in the SQLite log: found without reading a body. It runs in threads."""

import json
import sqlite3
from collections.abc import Mapping, Sequence

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
        WHERE position {these} AND ({marked}) ORDER BY position
    )
    """
_IN_RANGE = "> ? AND position <= ?"
_AT = "= ?"


def load_copies(connection: sqlite3.Connection, *, shared: Mapping[str, int], low: int, high: int) -> Sequence[Copy]:
    """The copies after position `low`, up to and including `high`, but for those that damage makes unreadable."""
    try:
        return _load(connection, shared, _IN_RANGE, low, high)
    except GARBLED as error:
        raise_unless_damage(error)
    return [
        copy for position in with_breaks(range(low + 1, high + 1)) for copy in _load_at(connection, shared, position)
    ]


def _load_at(connection: sqlite3.Connection, shared: Mapping[str, int], position: int) -> Sequence[Copy]:
    try:
        return _load(connection, shared, _AT, position)
    except GARBLED as error:
        raise_unless_damage(error)
        return ()


def _load(connection: sqlite3.Connection, shared: Mapping[str, int], these: str, *positions: int) -> Sequence[Copy]:
    query = _COPIES.format(these=these, marked=" OR ".join(["instr(meta, ?)"] * len(shared)))
    [found] = connection.execute(query, (*positions, *map(mark_of, shared))).fetchone()
    return find_copies(shared, json.loads(found))
