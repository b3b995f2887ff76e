"""Files that lines are appended to: each is on disk before anybody relies on it, and none is ever half."""

import errno
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path

from ..file_locks import lock

APPENDING_S = 5.0
"""Time for which others that append may have a file; who has it for longer, such as a recorder, keeps it."""

_LOOK_S = 0.05


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
def open_line_file(path: Path, *, wait_s: float = 0) -> Iterator[LineFile]:
    """The file, made if there is none, which no other process appends to until the block ends.

    Raises `OSError` if it cannot be opened: `BlockingIOError` if another process has it for longer than `wait_s`.
    """
    with _open_locked(path, time.monotonic() + wait_s) as file:
        yield LineFile(path, file)


def _open_locked(path: Path, until: float) -> FileIO:
    while True:
        # Readable only by this user: bodies and headers may hold secrets.
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        file = FileIO(descriptor, "ab")
        try:
            lock(descriptor, wait=False)
        except BlockingIOError:
            file.close()
            if time.monotonic() > until:
                raise
            # Who has the file tells nobody when that ends.
            time.sleep(_LOOK_S)
            continue
        # While it was waited for, another may have taken its place (`retried_file`).
        if _is_at(path, descriptor):
            return file
        file.close()


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
