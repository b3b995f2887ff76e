"""What lies in the tables of a log, past its hubs: those of SQLite and of PostgreSQL have the same columns."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

Execute = Callable[[str], Sequence[Sequence[Any]]]
"""Runs a statement, and returns its rows."""


class Stored(NamedTuple):
    """A message as it lies in the tables."""

    position: int
    id: str
    time_us: int
    topic: str
    meta: str
    body: bytes


def load_stored(execute: Execute) -> list[Stored]:
    """All messages."""
    [[epoch]] = execute("SELECT epoch FROM identity")
    rows = execute("SELECT position, time_us, topic, meta, body FROM log JOIN body USING (position) ORDER BY position")
    return [Stored(position, f"{epoch}-{position:015}", *rest) for position, *rest in rows]


def load_head(execute: Execute) -> int:
    """The position of the newest message."""
    [[newest]] = execute("SELECT max(position) FROM log")
    return int(newest or 0)


def check_bodies(execute: Execute) -> None:
    """Check that each message has a body and each body a message."""
    [[lonely]] = execute("SELECT count(*) FROM log FULL JOIN body b USING (position) WHERE b.position IS NULL")
    [[bodies], [messages]] = execute("SELECT count(*) FROM body UNION ALL SELECT count(*) FROM log")
    assert (lonely, bodies) == (0, messages)
