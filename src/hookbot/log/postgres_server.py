"""Servers of PostgreSQL and their settings: whether the hub can work with one, and how durable its log is there."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from time import time
from typing import Any

from ..errors import ConfigError
from .postgres_address import PostgresAddress

# `require_psycopg` says what to install.
with suppress(ImportError):
    import psycopg

OLDEST = 14
MAX_SKEW_S = 5
# What a commit survives.
DURABILITY = ("fsync", "full_page_writes", "synchronous_commit", "synchronous_standby_names")

_READ = """
    SELECT
        array(SELECT current_setting(name) FROM unnest(%s::text[]) WITH ORDINALITY AS setting(name, n) ORDER BY n),
        extract(epoch FROM clock_timestamp())::float8
    """
# Functions that test a privilege take several in one text, of which one is enough.
_MISSING_GRANTS = """
    WITH space AS (SELECT oid, nspname FROM pg_namespace WHERE nspname = %(schema)s)
    SELECT format('GRANT CREATE ON DATABASE %%I TO %%I', current_database(), current_user)
    WHERE NOT EXISTS (SELECT FROM space) AND NOT has_database_privilege(current_database(), 'CREATE')
    UNION
    SELECT format('GRANT %%s ON SCHEMA %%I TO %%I', privilege, nspname, current_user)
    FROM space, unnest('{USAGE,CREATE}'::text[]) AS privilege
    WHERE NOT has_schema_privilege(oid, privilege)
    UNION
    SELECT format('GRANT %%s ON ALL TABLES IN SCHEMA %%I TO %%I', privilege, nspname, current_user)
    FROM space JOIN pg_class ON relnamespace = space.oid, unnest('{SELECT,INSERT,UPDATE,DELETE}'::text[]) AS privilege
    WHERE relkind = 'r' AND NOT has_table_privilege(pg_class.oid, privilege)
    UNION
    SELECT format('GRANT %%s ON ALL SEQUENCES IN SCHEMA %%I TO %%I', privilege, nspname, current_user)
    FROM space JOIN pg_class ON relnamespace = space.oid, unnest('{SELECT,UPDATE}'::text[]) AS privilege
    WHERE relkind = 'S' AND NOT has_sequence_privilege(pg_class.oid, privilege)
    ORDER BY 1
    """


@dataclass(frozen=True, slots=True)
class Server:
    """A server as a new connection finds it."""

    version: int
    """Major version."""
    encoding: str
    settings: Mapping[str, str]
    skew_s: float
    """Seconds by which its clock is before that of this machine."""

    @classmethod
    def read(cls, connection: "psycopg.Connection[Any]") -> "Server":
        """The server of a connection."""
        before = time()
        row = connection.execute(_READ, [["server_version_num", "server_encoding", *DURABILITY]]).fetchone()
        between = (before + time()) / 2
        assert row is not None
        [version, encoding, *values], now = row
        return cls(int(version) // 10_000, encoding, dict(zip(DURABILITY, values, strict=True)), now - between)

    def require(self) -> None:
        """Raise `ConfigError` if the hub cannot work with this server or database."""
        if self.version < OLDEST:
            raise ConfigError(f"the log needs PostgreSQL {OLDEST} or later; the server is PostgreSQL {self.version}")
        if self.encoding != "UTF8":
            raise ConfigError(
                f"the encoding of the database is {self.encoding}: the log needs one that was made by"
                " CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0"
            )

    def __str__(self) -> str:
        """The server, and which crashes an acknowledged message survives there, for the hub's own log."""
        settings = ", ".join(f"{name} is {value or 'empty'}" for name, value in self.settings.items())
        return f"PostgreSQL {self.version}: {settings}"

    def warnings(self) -> Iterator[str]:
        """Changes that the server needs, each in a sentence."""
        if self.settings["fsync"] == "off":
            yield "fsync is off on the server: a crash of its machine may destroy the whole database"
        if self.settings["full_page_writes"] == "off":
            yield "full_page_writes is off on the server: a crash of its machine may damage the database"
        commit, standbys = self.settings["synchronous_commit"], self.settings["synchronous_standby_names"]
        if commit == "off":
            yield "synchronous_commit is off on the server: a crash loses messages that were acknowledged"
        elif commit == "local" and standbys:
            yield "synchronous_commit is local on the server: a failover may lose messages that were acknowledged"
        if abs(self.skew_s) > MAX_SKEW_S:
            side = "before" if self.skew_s > 0 else "behind"
            yield (
                f"the clock of the server is {abs(self.skew_s):.0f} s {side} that of this machine: messages have the"
                " server's time"
            )


def require_privileges(connection: "psycopg.Connection[Any]", address: PostgresAddress) -> None:
    """Raise `ConfigError` that says what to grant, unless the role can make the schema or use the one there is."""
    if grants := [grant for [grant] in connection.execute(_MISSING_GRANTS, {"schema": address.schema})]:
        raise ConfigError(f"the role of the log in {address} lacks privileges: {'; '.join(grants)}")
