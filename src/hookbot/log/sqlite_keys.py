"""Queries of the deduplication keys in the SQLite log. They run in threads."""

# ruff: noqa: S608 - only constants of this file are formatted into statements; values are bound

import sqlite3
from collections.abc import Iterable, Iterator, Mapping

from ..protocol.message import Once
from .deduplication import FirstUse, digest
from .earlier_keys import earlier_digest, earlier_uses
from .retention import STEP_ROWS
from .sqlite_rows import in_runs, insert_rows

_COLUMNS = "key, position, time_us, unsafe, fingerprint"


def first_uses(connection: sqlite3.Connection, asked: Iterable[Once], *, earlier: bool) -> dict[bytes, FirstUse]:
    """First uses stored for keys, by digest; with `earlier`, also by earlier versions."""
    keys = {digest(once): once for once in asked}
    found = _load_uses(connection, keys)
    if earlier:
        found = earlier_uses(keys, _load_uses(connection, map(earlier_digest, keys.values()))) | found
    return found


def insert_keys(connection: sqlite3.Connection, keys: Mapping[bytes, FirstUse]) -> None:
    """Write first uses by the digests of their keys."""
    uses = [(use.unsafe, use.position, key, use.time_us, use.fingerprint) for key, use in keys.items()]
    insert_rows(connection, "INSERT INTO once", uses)


def load_keys(connection: sqlite3.Connection, after: bytes, limit: int) -> dict[bytes, FirstUse]:
    """The first uses of keys whose digests come after `after`, in order, at most `limit`."""
    query = f"SELECT {_COLUMNS} FROM once WHERE key > ? ORDER BY key LIMIT ?"
    return dict(_decode(connection.execute(query, (after, limit))))


def has_earlier_keys(connection: sqlite3.Connection) -> bool:
    """True while keys are left that an earlier version has stored."""
    [found] = connection.execute(
        "SELECT EXISTS (SELECT * FROM once WHERE unsafe IN (0, 1) AND position <= (SELECT earlier_keys FROM identity))"
    ).fetchone()
    return bool(found)


def forget_keys(connection: sqlite3.Connection, before_us: int, *, unsafe: bool) -> bool:
    """Delete one step of the keys from before a time. True if there may be more."""
    last, count = connection.execute(
        "SELECT max(position), count(*) FROM"
        " (SELECT position, time_us FROM once WHERE unsafe = ? ORDER BY position LIMIT ?)"
        " WHERE time_us < ?",
        (unsafe, STEP_ROWS, before_us),
    ).fetchone()
    if count:
        connection.execute("DELETE FROM once WHERE unsafe = ? AND position <= ?", (unsafe, last))
    return bool(count == STEP_ROWS)


def _load_uses(connection: sqlite3.Connection, digests: Iterable[bytes]) -> dict[bytes, FirstUse]:
    found: dict[bytes, FirstUse] = {}
    for keys in in_runs(list(digests), None):
        marks = ", ".join("?" * len(keys))
        found.update(_decode(connection.execute(f"SELECT {_COLUMNS} FROM once WHERE key IN ({marks})", keys)))
    return found


def _decode(rows: Iterable[tuple[bytes, int, int, int, bytes]]) -> Iterator[tuple[bytes, FirstUse]]:
    for key, position, time_us, unsafe, fingerprint in rows:
        yield bytes(key), FirstUse(int(position), int(time_us), bool(unsafe), bytes(fingerprint))
