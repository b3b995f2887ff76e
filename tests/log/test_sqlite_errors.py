"""Errors of the log's file: which of them are damage, which a full disk, and what is said about them."""

import errno
import sqlite3
from pathlib import Path

import pytest

from hookbot.errors import Damaged, Unavailable
from hookbot.log.sqlite_errors import cannot_open, is_damage, is_full, raise_unless_damage, unavailable


def sqlite_error(code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = code
    return error


def test_an_error_is_damage_or_something_else() -> None:
    assert is_damage(ValueError())
    assert is_damage(sqlite3.OperationalError("Could not decode to UTF-8 column 'topic'"))
    assert not is_damage(OSError(errno.EIO, "Input/output error"))
    for code, damaged in {
        sqlite3.SQLITE_CORRUPT: True,
        sqlite3.SQLITE_CORRUPT_INDEX: True,
        sqlite3.SQLITE_NOTADB: True,
        sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY: True,
        sqlite3.SQLITE_IOERR_SHORT_READ: True,
        sqlite3.SQLITE_IOERR_READ: False,
        sqlite3.SQLITE_FULL: False,
        sqlite3.SQLITE_BUSY: False,
    }.items():
        assert is_damage(sqlite_error(code)) is damaged


def test_only_what_is_not_damage_is_raised_again() -> None:
    raise_unless_damage(sqlite_error(sqlite3.SQLITE_CORRUPT))

    with pytest.raises(sqlite3.OperationalError):
        raise_unless_damage(sqlite_error(sqlite3.SQLITE_FULL))


def test_a_full_disk_and_a_used_up_quota_are_full() -> None:
    for code in errno.ENOSPC, errno.EDQUOT:
        assert is_full(OSError(code, ""))
    assert is_full(sqlite_error(sqlite3.SQLITE_FULL))
    assert not is_full(OSError(errno.EIO, ""))
    assert not is_full(sqlite_error(sqlite3.SQLITE_CORRUPT))


def test_what_fails_for_damage_may_be_told_from_what_fails_altogether() -> None:
    assert type(unavailable("read", sqlite_error(sqlite3.SQLITE_CORRUPT))) is Damaged
    failing = unavailable("write to", OSError(errno.EIO, "Input/output error"))
    assert type(failing) is Unavailable
    assert str(failing) == "the hub cannot write to its log: Input/output error"


@pytest.mark.parametrize(
    ("error", "cure"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device; free some disk space"),
        (ValueError("garbled"), "garbled; it is damaged: restore a backup, or start with an empty data directory"),
        (OSError(errno.EACCES, "Permission denied"), "Permission denied"),
    ],
)
def test_a_log_that_cannot_be_opened_says_what_to_do(error: Exception, cure: str) -> None:
    assert str(cannot_open(Path("data"), error)) == f"the log in data cannot be opened: {cure}"
