"""A hub that has its log in a file."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from typing import Any

from end_to_end.crashing.hub import Hub
from end_to_end.crashing.tables import Stored, check_bodies, load_head, load_stored


class SqliteHub(Hub):
    """A hub that has its log in a file, which is read past it."""

    def stored(self) -> list[Stored]:
        """All messages."""
        return load_stored(self._execute)

    def head(self) -> int:
        """The position of the newest message."""
        return load_head(self._execute)

    def check_integrity(self) -> None:
        """Check the file by SQLite's own means, and that each message has a body and each body a message."""
        assert self._execute("PRAGMA integrity_check") == [("ok",)]
        check_bodies(self._execute)

    def _execute(self, statement: str) -> Sequence[Sequence[Any]]:
        with closing(sqlite3.connect(f"file:{self._directory / 'hookbot.sqlite3'}?mode=ro", uri=True)) as file:
            return file.execute(statement).fetchall()
