"""The reserve: disk space that is set aside, so that a hub can start and delete old messages while its disk is full."""

import errno
import os
from pathlib import Path

FILE = "hookbot.reserve"
# The write-ahead log of 16 MiB moves into the database, and a step of retention fits in beside it.
SIZE = 32 << 20
# A small disk must not be taken up by its reserve.
LARGEST_SHARE = 1 / 8
# On a disk that is full but for a little, that little is set aside, in blocks of this size.
BLOCK = 256 << 10
# What a start has used of it need not be free again before anything is stored.
ENOUGH = 1 / 2


class DiskReserve:
    """File without content in a directory. While less than `ENOUGH` of it can be held, the disk counts as full."""

    def __init__(self, directory: Path) -> None:
        self.held = False
        self._path = directory / FILE
        disk = os.statvfs(directory)
        self.size = min(SIZE, int(disk.f_blocks * disk.f_frsize * LARGEST_SHARE))

    def hold(self) -> None:
        """Set the space aside unless it is already. Raises `OSError` if the disk has too little, and keeps that."""
        if self.held:
            return
        start = 0
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            for start in range(0, self.size, BLOCK):
                _allocate(descriptor, start)
        except OSError:
            if start < self.size * ENOUGH:
                raise
        finally:
            os.close(descriptor)
        self.held = True

    def has_room(self) -> bool:
        """True if the disk has room for everything that the reserve is for, beside what is held."""
        return self._room() >= self.size

    def check_room(self, size: int) -> None:
        """Raise `OSError` if the disk has no room for `size` bytes, even with what is held."""
        if self._room() + self._held_bytes() < size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def release(self) -> None:
        """Give the space back to the disk."""
        self.held = False
        self._path.unlink(missing_ok=True)

    def _room(self) -> int:
        disk = os.statvfs(self._path.parent)
        return disk.f_bavail * disk.f_frsize

    def _held_bytes(self) -> int:
        return self._path.stat().st_blocks * 512 if self._path.exists() else 0


def _allocate(descriptor: int, start: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, start, BLOCK)
    # macOS has no call for it.
    else:  # pragma: no cover
        os.pwrite(descriptor, bytes(BLOCK), start)
