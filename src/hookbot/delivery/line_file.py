"""Files that lines are appended to: each is on disk before anybody relies on it, and none is ever half."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path

from ..file_locks import lock


class LineFile:
    """A file that is open for appending lines. Made by `open_line_file`."""

    def __init__(self, path: Path, file: FileIO) -> None:
        self._path = path
        self._file = file

    def append(self, lines: bytes) -> None:
        """Append lines, and return when they are on disk. Raises `OSError`, and then the file has none of them."""
        status = os.fstat(self._file.fileno())
        # Whoever opens it by its name would find none of them.
        if not status.st_nlink:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        whole = status.st_size
        try:
            rest = memoryview(lines if self._ends_with_line(whole) else b"\n" + lines)
            while rest:
                rest = rest[self._file.write(rest) or 0 :]
            # A pipe has no disk to wait for.
            if stat.S_ISREG(status.st_mode):
                os.fsync(self._file.fileno())
        except OSError:
            # A disk that becomes full has taken a part. A pipe or a device does not give it back.
            with suppress(OSError):
                self._file.truncate(whole)
            raise

    def _ends_with_line(self, size: int) -> bool:
        """False if the file ends with a part of a line, as a crash or a power failure leaves it."""
        # A pipe or a device has no size; nor need a file that can be written be readable.
        with suppress(OSError):
            if size:
                with open(self._path, "rb") as file:
                    file.seek(size - 1)
                    return file.read(1) == b"\n"
        return True


@contextmanager
def open_line_file(path: Path) -> Iterator[LineFile]:
    """The file, made if there is none, which no other process appends to until the block ends.

    Raises `OSError` if it cannot be opened: `BlockingIOError` while another process has it.
    """
    # Readable only by this user: bodies and headers may hold secrets.
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    with open(descriptor, "ab", buffering=0) as file:
        lock(descriptor, wait=False)
        yield LineFile(path, file)
