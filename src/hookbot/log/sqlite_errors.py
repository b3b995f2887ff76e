"""Errors of SQLite and of the disk: whether they come from damage or from a full disk, and what the hub answers."""

import errno
import sqlite3
from pathlib import Path

from ..errors import ConfigError, Damaged, InvalidTopic, Unavailable, system_reason

# MemoryError: a garbled length that is too large for the memory.
GARBLED = (sqlite3.DatabaseError, MemoryError, ValueError, TypeError, AttributeError, LookupError, InvalidTopic)
"""Errors of a query and of decoding its rows that may come from damage; `is_damage` decides."""

# TOOBIG: a garbled length. CONSTRAINT: a row that was not found is there. A file whose first page is damaged is no
# database at all, and a page beyond the end of a file cannot be read.
_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_CONSTRAINT)
_FULL = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE)


def is_damage(error: Exception) -> bool:
    """True if one of the errors `GARBLED` came from damaged bytes, and not from a full or failing disk."""
    if isinstance(error, sqlite3.DatabaseError):
        # Text that is not UTF-8 is an OperationalError of the module, without a code of SQLite.
        code = getattr(error, "sqlite_errorcode", None)
        if code is None:
            return isinstance(error, sqlite3.OperationalError)
        return (code & 0xFF) in _DAMAGE or code == sqlite3.SQLITE_IOERR_SHORT_READ
    return isinstance(error, GARBLED)


def raise_unless_damage(error: Exception) -> None:
    """Raise one of the errors `GARBLED` again, unless it is damage."""
    if not is_damage(error):
        raise error


def is_full(error: Exception) -> bool:
    """True if an error says that the disk, or the share of it that the hub may use, is full."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return getattr(error, "sqlite_errorcode", None) in _FULL


def unavailable(action: str, error: Exception) -> Unavailable:
    """Error for an action on the log that has failed; `Damaged` if a part of the file is."""
    kind = Damaged if is_damage(error) else Unavailable
    return kind(f"the hub cannot {action} its log: {_reason(error)}")


def cannot_open(directory: Path, error: Exception) -> ConfigError:
    """Error for a log that cannot be opened, with what to do about a full disk or a damaged file."""
    cure = ""
    if is_full(error):
        cure = "; free some disk space"
    elif is_damage(error):
        cure = "; it is damaged: restore a backup, or start with an empty data directory"
    return ConfigError(f"the log in {directory} cannot be opened: {_reason(error)}{cure}")


def _reason(error: Exception) -> str:
    return system_reason(error) if isinstance(error, OSError) else str(error)
