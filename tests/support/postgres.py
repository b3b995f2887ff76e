"""A private PostgreSQL: a real server in a directory of its own, that listens on loopback only."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from tempfile import mkdtemp

import psycopg
import pytest

from support.ports import free_ports

DEBIAN = Path("/usr/lib/postgresql")
OWNER = "postgres"
# Nothing that a test stores has to survive the machine; those about crashes turn it on again.
FAST = {"fsync": "off", "full_page_writes": "off"}
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "max_connections": "200",
    "shared_buffers": "32MB",
    "log_min_messages": "fatal",
}


def programs() -> Path | None:
    """Folder of the newest server that is installed; None if there is none."""
    versions = [path.parent for path in DEBIAN.glob("*/bin/initdb")]
    if versions:
        return max(versions, key=lambda path: float(path.parent.name))
    found = shutil.which("initdb")
    return Path(found).resolve().parent if found else None


def require_postgres() -> Path:
    """The folder of the server's programs; a test without it is skipped, and fails where everything is installed."""
    found = programs()
    if found is None:
        reason = "there is no PostgreSQL on this machine: install Debian's package postgresql"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    return found


class PostgresServer:
    """A server with the database ``hookbot``, whose only role is the superuser `OWNER`, without a password."""

    def __init__(self, programs: Path, directory: Path, port: int, settings: dict[str, str]) -> None:
        self.port = port
        self.data = directory / "data"
        self._programs = programs
        self._directory = directory
        self._settings = settings
        self.url = self.url_of("hookbot")

    def url_of(self, database: str) -> str:
        """Address of a database, as ``--store`` takes it."""
        return f"postgresql://{OWNER}@127.0.0.1:{self.port}/{database}"

    def create(self) -> None:
        """Make the files of the server."""
        self._make_directory()
        self._run("initdb", "--auth=trust", f"--username={OWNER}", "--encoding=UTF8", "--locale=C", "--no-sync")
        self._configure(SETTINGS | self._settings)

    def copy(self, primary: "PostgresServer", name: str) -> None:
        """Make the files of the server from those of another one, as a standby of it with a name."""
        self._make_directory()
        source = f"host=127.0.0.1 port={primary.port} user={OWNER} application_name={name}"
        self._run("pg_basebackup", f"--dbname={source}", "--checkpoint=fast", "--no-sync", "--write-recovery-conf")
        self._configure(self._settings)

    def start(self) -> None:
        """Start the server, and wait until it takes connections."""
        log = self._directory / "log"
        self._run("pg_ctl", "start", "--wait", f"--log={log}")

    def stop(self, mode: str = "immediate") -> None:
        """Stop the server: ``fast``, or ``immediate``, which is like a crash."""
        self._run("pg_ctl", "stop", "--wait", f"--mode={mode}")

    @property
    def is_running(self) -> bool:
        """True from `start` to `stop`."""
        return (self.data / "postmaster.pid").exists()

    def end(self) -> None:
        """Stop the server if it runs."""
        if self.is_running:
            self.stop()

    def restart(self) -> None:
        """Let the server crash, and start it again."""
        self.stop()
        self.start()

    def pids(self) -> Sequence[int]:
        """Processes of the server, the first one first."""
        parent = int((self.data / "postmaster.pid").read_text().split()[0])
        children = subprocess.run(["pgrep", "-P", str(parent)], capture_output=True, text=True, check=False).stdout
        return [parent, *map(int, children.split())]

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Freeze all processes of the server for the block, as a server that hangs or a network that is gone."""
        pids = self.pids()
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    def execute(
        self, statement: str, *values: object, database: str = "hookbot", schema: str = "public"
    ) -> list[tuple[object, ...]]:
        """Rows of a statement, committed."""
        options = f"-c search_path={schema}"
        with psycopg.connect(self.url_of(database), autocommit=True, options=options) as connection:
            cursor = connection.execute(statement.encode(), values or None)
            return cursor.fetchall() if cursor.description else []

    def dump(self, schema: str) -> bytes:
        """Statements that make a schema with all that is in it."""
        return self._client("pg_dump", f"--schema={schema}")

    def load(self, dump: bytes) -> None:
        """Execute the statements of a dump."""
        self._client("psql", "--quiet", "--set=ON_ERROR_STOP=1", given=dump)

    def _client(self, program: str, *arguments: str, given: bytes = b"") -> bytes:
        command = [str(self._programs / program), f"--dbname={self.url}", *arguments]
        return subprocess.run(command, input=given, stdout=subprocess.PIPE, check=True).stdout

    def _make_directory(self) -> None:
        self._directory.chmod(0o755)
        if os.geteuid() == 0:
            shutil.chown(self._directory, OWNER)

    def _configure(self, settings: dict[str, str]) -> None:
        settings = {"unix_socket_directories": str(self._directory), "port": str(self.port)} | settings
        with (self.data / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in settings.items())

    def _run(self, program: str, *arguments: str) -> None:
        as_owner = ["runuser", "-u", OWNER, "--"] if os.geteuid() == 0 else []
        command = [*as_owner, str(self._programs / program), "-D", str(self.data), *arguments]
        # Not captured: the server would keep the pipe.
        done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/", check=False)
        assert done.returncode == 0, command


def new_schema() -> str:
    """Name of a schema that no other test has."""
    return f"t{token_hex(8)}"


@contextmanager
def running_postgres(**settings: str) -> Iterator[PostgresServer]:
    """A server until the block ends. Its settings are those of `FAST`, except for those that are given."""
    found = require_postgres()
    # Not in pytest's directory, which the server's user may not enter.
    directory = Path(mkdtemp(prefix="hookbot-postgres-"))
    [port] = free_ports(1)
    server = PostgresServer(found, directory, port, FAST | settings)
    try:
        server.create()
        server.start()
        server.execute("CREATE DATABASE hookbot", database="postgres")
        yield server
    finally:
        try:
            server.end()
        finally:
            shutil.rmtree(directory, ignore_errors=True)
