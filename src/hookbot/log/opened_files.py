"""Files that a process has open: whether they are still there, and whole."""

import os
from pathlib import Path

from ..errors import Unavailable

NOTHING_IS_STORED = "nothing is stored until the hub is restarted"


class OpenedFile:
    """A file as this process has opened it, and how large it was when it was last written here."""

    def __init__(self, path: Path) -> None:
        self.path = path
        status = path.stat()
        self._identity = status.st_dev, status.st_ino
        self._size = status.st_size

    def check(self) -> None:
        """Raise `Unavailable` if the file was deleted, replaced or truncated: what is stored then would be lost.

        Raises `OSError` if that cannot be found out.
        """
        if self._size_now() < self._size:
            raise Unavailable(f"the log's file {self.path.name} was truncated: {NOTHING_IS_STORED}")

    def is_emptied(self) -> bool:
        """True if nothing is left in the file, although there was something. Raises like `check`."""
        return self._size > 0 and self._size_now() == 0

    def accept(self) -> None:
        """Remember the size after this process has written to the file. Raises like `check`."""
        self._size = self._size_now()

    def regrow(self) -> None:
        """Give a file that was truncated its size again: the system ends a process that reads memory of what is gone.

        A file that was deleted or replaced stays as it is.
        """
        status = self._status()
        if status and status.st_size < self._size:
            os.truncate(self.path, self._size)

    def _size_now(self) -> int:
        status = self._status()
        if status is None:
            raise Unavailable(f"the log's file {self.path.name} was deleted or replaced: {NOTHING_IS_STORED}")
        return status.st_size

    def _status(self) -> os.stat_result | None:
        try:
            status = self.path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return status if (status.st_dev, status.st_ino) == self._identity else None
