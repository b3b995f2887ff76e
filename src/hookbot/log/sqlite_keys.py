"""Queries of the deduplication keys in the SQLite log. They run in threads."""

# ruff: noqa: S608 - only constants of this file are formatted into statements; values are bound

import sqlite3
from collections.abc import Iterable, Sequence

from ..protocol.message import Draft
from .deduplication import FirstUse, digest
from .earlier_keys import earlier_digest, earlier_uses
from .retention import STEP_ROWS, RetentionLimits
from .sqlite_rows import in_runs


def first_uses(connection: sqlite3.Connection, drafts: Sequence[Draft], *, earlier: bool) -> dict[bytes, FirstUse]:
    """First uses stored for the keys of `drafts`, by digest; with `earlier`, also by earlier versions."""
    keys = {digest(once): once for draft in drafts for once in draft.once}
    found = _load_uses(connection, keys)
    if earlier:
        found = earlier_uses(keys, _load_uses(connection, map(earlier_digest, keys.values()))) | found
    return found


def has_earlier_keys(connection: sqlite3.Connection) -> bool:
    """True while keys are left that an earlier version has stored."""
    [found] = connection.execute(
        "SELECT EXISTS (SELECT * FROM once WHERE unsafe IN (0, 1) AND position <= (SELECT earlier_keys FROM identity))"
    ).fetchone()
    return bool(found)


def forget_keys(connection: sqlite3.Connection, limits: RetentionLimits, *, lost: int, unsafe: bool) -> bool:
    """Delete one step of the keys that have expired, or belong to messages up to `lost`. True if there may be more."""
    last, count = connection.execute(
        "SELECT max(position), count(*) FROM"
        " (SELECT position, time_us FROM once WHERE unsafe = ? ORDER BY position LIMIT ?)"
        " WHERE time_us < ? OR position <= ?",
        (unsafe, STEP_ROWS, limits.keys_before_us, lost),
    ).fetchone()
    if count:
        connection.execute("DELETE FROM once WHERE unsafe = ? AND position <= ?", (unsafe, last))
    return bool(count == STEP_ROWS)


def _load_uses(connection: sqlite3.Connection, digests: Iterable[bytes]) -> dict[bytes, FirstUse]:
    found = {}
    for keys in in_runs(list(digests), None):
        marks = ", ".join("?" * len(keys))
        columns = "key, position, time_us, unsafe, fingerprint"
        for key, position, time_us, unsafe, fingerprint in connection.execute(
            f"SELECT {columns} FROM once WHERE key IN ({marks})", keys
        ):
            found[key] = FirstUse(int(position), int(time_us), bool(unsafe), bytes(fingerprint))
    return found
