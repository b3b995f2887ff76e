"""Uses of keys at rest: how many messages of a log are encrypted with which, so that an old one can be given up."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import trio

from ..errors import ConfigError
from ..threads import hub_threads
from .postgres_address import PostgresAddress
from .sealing import KEY_OF_META
from .sqlite_errors import GARBLED, cannot_open
from .sqlite_file import FILE, connect_reader
from .sqlite_schema import STEPS, check_version

if TYPE_CHECKING:
    from psycopg import Connection

# In both databases.
_COUNT = f"""
    SELECT {KEY_OF_META} AS key, count(*), min(time_us), max(time_us)
    FROM log JOIN body ON body.position = log.position GROUP BY key ORDER BY max(time_us), key
    """  # noqa: S608 - a constant of this house
# It passes all messages.
_DEADLINE_S = 600.0


class KeyUse(NamedTuple):
    """Messages that are encrypted with one key: their number, and the times of the oldest and the newest."""

    key: str
    """Its id; empty for messages that are not encrypted."""
    messages: int
    oldest_us: int
    newest_us: int


async def key_uses(place: Path | PostgresAddress) -> Sequence[KeyUse]:
    """The uses of keys in the log in a data directory or a database, beside its hubs; the newest use comes last.

    Raises `ConfigError` if there is no log, or it is damaged or of another version, and `Unavailable`.
    """
    if isinstance(place, Path):
        return await trio.to_thread.run_sync(_in_directory, place, limiter=hub_threads())
    # Only for a database: psycopg may not be installed.
    from .postgres_copy import run_at  # noqa: PLC0415

    return await run_at(place, _count, deadline_s=_DEADLINE_S)


def _in_directory(directory: Path) -> Sequence[KeyUse]:
    path = directory.resolve() / FILE
    if not path.exists():
        raise ConfigError(f"there is no log in the directory {directory}")
    try:
        with closing(connect_reader(path)) as reader:
            check_version(reader, path, newest=len(STEPS))
            return _count(reader)
    except GARBLED as error:
        raise cannot_open(directory, error) from error


def _count(connection: "sqlite3.Connection | Connection[Any]") -> Sequence[KeyUse]:
    return [KeyUse(*row) for row in connection.execute(_COUNT).fetchall()]
