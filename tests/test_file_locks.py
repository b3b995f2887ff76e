"""Locks on files."""

import errno
import fcntl
import sys
from pathlib import Path

import pytest

from hookbot.file_locks import lock


def test_one_at_a_time_has_a_lock(tmp_path: Path) -> None:
    with (tmp_path / "a").open("wb") as first, (tmp_path / "a").open("rb") as second:
        lock(first.fileno())
        with pytest.raises(BlockingIOError):
            lock(second.fileno(), wait=False)
        first.close()
        lock(second.fileno(), wait=False)


def test_where_there_are_no_locks_nothing_is_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.EBADF, "as NFS does for what is not open for writing")

    with (tmp_path / "a").open("wb") as file:
        monkeypatch.setattr(fcntl, "flock", refuse)
        lock(file.fileno())
        monkeypatch.setitem(sys.modules, "fcntl", None)
        lock(file.fileno())
