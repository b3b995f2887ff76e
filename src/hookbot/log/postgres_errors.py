"""Errors of PostgreSQL: which are temporary, and which the operator has to cure before the hub can start."""

import re
from contextlib import suppress
from typing import Any

from ..errors import ConfigError, Unavailable
from .postgres_address import PostgresAddress

# `require_psycopg` says what to install.
with suppress(ImportError):
    import psycopg

# 08: the connection. 53: the server lacks something, as disk space. 57P0x: it shuts down, starts or has crashed. 25006:
# it cannot be written to. 25P03, 57014, 55P03: a timeout. 40001, 40P01: transactions were in each other's way.
_TEMPORARY = re.compile("08...|53...|57P0.|25006|25P03|57014|55P03|40001|40P01")

# While connecting, libpq tells no SQLSTATE. Where the server speaks another language than English, nothing of this is
# recognised: the hub goes on trying, and its log says what the server has said.
_CURES = {
    r"password authentication failed|no password supplied": (
        "give the right password in the address, in PGPASSWORD or in ~/.pgpass"
    ),
    r'role ".*" does not exist': "create the role (CREATE ROLE ... LOGIN), or give another user in the address",
    r'database ".*" does not exist': "create it by CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0",
    r"no pg_hba\.conf entry": "let the role in by a line of the server's pg_hba.conf",
    r"permission denied for database": "GRANT CONNECT ON DATABASE ... TO the role",
    r"does not support SSL|certificate|invalid \w+ value": "correct the parameters of the address",
}
_NO_PRIVILEGE = "42501"


class Unreachable(Unavailable):
    """No host can be connected to. `why` is for the operator: its hosts and users are none of a sender's business."""

    def __init__(self, why: str) -> None:
        super().__init__("the hub cannot reach its log")
        self.why = why


def is_temporary(error: Exception) -> bool:
    """True if a later attempt may succeed; any other error of a statement is a bug of the hub."""
    code = getattr(error, "sqlstate", None)
    if code and _TEMPORARY.fullmatch(code):
        return True
    return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)


def is_lost(connection: "psycopg.Connection[Any]", error: "psycopg.Error") -> bool:
    """True if an error was the end of the connection, so that nobody knows whether what was sent last was done."""
    # The server's last word may come before the end.
    return connection.closed or error.diag.severity_nonlocalized in ("FATAL", "PANIC")


def unavailable(action: str, error: Exception) -> Unavailable:
    """Error for an action on the log that has failed for the time being; an error of another kind is raised."""
    if not is_temporary(error):
        raise error
    return Unavailable(f"the hub cannot {action} its log: {reason(error)}")


def cannot_open(address: PostgresAddress, error: Exception) -> ConfigError | Unavailable:
    """Error for a log that cannot be opened at the start of the hub; an error that is a bug is raised.

    `ConfigError` with what to do if no later attempt can succeed before somebody has done it.
    """
    text = reason(error)
    cures = [cure for pattern, cure in _CURES.items() if re.search(pattern, text)]
    if getattr(error, "sqlstate", None) == _NO_PRIVILEGE:
        cures.append("grant it to the role")
    if cures:
        return ConfigError(f"the log in {address} cannot be opened: {text}; {cures[0]}")
    return error if isinstance(error, Unavailable) else unavailable("open", error)


def reason(error: Exception) -> str:
    """Reason that PostgreSQL, libpq or the hub gives to the operator, in one line."""
    return error.why if isinstance(error, Unreachable) else " ".join(str(error).split())
