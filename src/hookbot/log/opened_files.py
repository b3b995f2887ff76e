"""Files that a process has open: whether they are still there, and whole.

Another program, such as one that makes backups, may checkpoint a log: that empties the write-ahead log, and takes
pages that were given back from the end of the file.
"""

import os
import sqlite3
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

from ..errors import Unavailable

NOTHING_IS_STORED = "nothing is stored until the hub is restarted"


class OpenedFile:
    """A file as this process has opened it, and how large it was when it was last written here."""

    def __init__(self, path: Path) -> None:
        self.path = path
        status = path.stat()
        self._identity = status.st_dev, status.st_ino
        self.accepted_size = status.st_size
        """Size when it was opened, or last accepted."""

    @property
    def size(self) -> int:
        """Size now. Raises `Unavailable` if the file was deleted or replaced, and `OSError` if that is unknown."""
        size = self._find_size()
        if size is None:
            raise Unavailable(f"the log's file {self.path.name} was deleted or replaced: {NOTHING_IS_STORED}")
        return size

    def check(self, may_be_smaller: Callable[[int], bool]) -> None:
        """Raise `Unavailable` if the file was truncated: what is stored then would be lost. Raises as `size`.

        `may_be_smaller` tells whether a smaller size is right.
        """
        # Asked for once: at each system call, a busy event loop may keep the interpreter for milliseconds.
        size = self.size
        if size < self.accepted_size and not may_be_smaller(size):
            raise Unavailable(f"the log's file {self.path.name} was truncated: {NOTHING_IS_STORED}")

    def accept(self) -> None:
        """Accept the size that the file has now, after this process has written to it. Raises as `size`."""
        self.accepted_size = self.size

    def regrow(self) -> None:
        """Give a file that was truncated its size again: the system ends a process that reads memory of what is gone.

        A file that was deleted or replaced stays as it is.
        """
        size = self._find_size()
        if size is not None and size < self.accepted_size:
            os.truncate(self.path, self.accepted_size)

    def _find_size(self) -> int | None:
        try:
            status = self.path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return status.st_size if (status.st_dev, status.st_ino) == self._identity else None


class WrittenFile(OpenedFile):
    """An `OpenedFile` that is looked at through a descriptor, where the system tells its path, as Linux does.

    To ask for the status of a file between two writes makes Linux, from version 6.13 on, note the exact time of the
    second one, so that `fdatasync` takes half as long again. Not for a file that SQLite locks: closing the descriptor
    would release all locks of this process.
    """

    def __init__(self, path: Path, opened: ExitStack) -> None:
        super().__init__(path)
        self._descriptor = os.open(path, os.O_RDONLY)
        opened.callback(os.close, self._descriptor)

    def _find_size(self) -> int | None:
        # Another path, or none, if the file was replaced or deleted.
        with suppress(OSError):
            if os.readlink(f"/proc/self/fd/{self._descriptor}") == str(self.path):  # noqa: PTH115
                return os.lseek(self._descriptor, 0, os.SEEK_END)
        return super()._find_size()


def is_whole(writer: sqlite3.Connection, size: int) -> bool:
    """True if a file of this size has all pages of the log: those that are missing were given back."""
    with suppress(sqlite3.DatabaseError):
        [[pages]], [[page_bytes]] = writer.execute("PRAGMA page_count"), writer.execute("PRAGMA page_size")
        return bool(pages * page_bytes <= size)
    return False


def is_checkpointed(writer: sqlite3.Connection, size: int) -> bool:
    """True if a write-ahead log of this size is empty, and nothing that was in it is missing."""
    if size:
        return False
    with suppress(sqlite3.DatabaseError):
        [[_, frames, _]] = writer.execute("PRAGMA wal_checkpoint(PASSIVE)")
        # Less than none: the other one is still at it.
        return int(frames) <= 0
    # There are frames, which cannot be read.
    return False
