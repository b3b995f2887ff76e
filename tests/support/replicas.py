"""Replicas of a private PostgreSQL, which stream from it and can take its place."""

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

from support.ports import free_ports
from support.postgres import FAST, OWNER, PostgresServer, require_postgres

NAME = "standby"
GUARD_S = 30


class Standby(PostgresServer):
    """A server that follows a primary until it is promoted."""

    def promote(self) -> None:
        """Make it a primary, on the next timeline."""
        self.execute("SELECT pg_promote()")

    def detach(self) -> None:
        """Let it receive nothing any more, as if the network to the primary were cut."""
        set_on(self, "primary_conninfo", "")
        _wait_until(lambda: not self.execute("SELECT 1 FROM pg_stat_wal_receiver"))

    def has_all_of(self, primary: PostgresServer) -> bool:
        """True if everything that the primary has written up to now is here."""
        [(position,)] = primary.execute("SELECT pg_current_wal_lsn()::text")
        [(received,)] = self.execute("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", position)
        return received is True

    def catch_up_with(self, primary: PostgresServer) -> None:
        """Wait until everything that the primary has written is here."""
        _wait_until(lambda: self.has_all_of(primary))


def set_on(server: PostgresServer, setting: str, value: str) -> None:
    """Change a setting of a server that runs."""
    server.execute(f"ALTER SYSTEM SET {setting} = '{value}'")
    server.execute("SELECT pg_reload_conf()")


@contextmanager
def standby_of(primary: PostgresServer, *, synchronous: bool = False) -> Iterator[Standby]:
    """A copy of the primary that follows it, until the block ends; `synchronous` if each commit has to wait for it."""
    directory = Path(mkdtemp(prefix="hookbot-standby-"))
    [port] = free_ports(1)
    standby = Standby(require_postgres(), directory, port, FAST)
    try:
        standby.copy(primary, NAME)
        standby.start()
        _wait_until(lambda: bool(primary.execute("SELECT 1 FROM pg_stat_replication WHERE state = 'streaming'")))
        if synchronous:
            require_standby(primary)
        yield standby
        standby.stop()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def require_standby(primary: PostgresServer) -> None:
    """Let each commit wait for the standby from now on."""
    set_on(primary, "synchronous_standby_names", NAME)
    _wait_until(lambda: bool(primary.execute("SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'")))


def url_of_all(*servers: PostgresServer) -> str:
    """Address of whichever of the servers can be written to, the first one first."""
    hosts = ",".join(f"127.0.0.1:{server.port}" for server in servers)
    return f"postgresql://{OWNER}@{hosts}/hookbot"


def _wait_until(is_so: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + GUARD_S
    while not is_so():
        assert time.monotonic() < give_up_at
        time.sleep(0.02)
