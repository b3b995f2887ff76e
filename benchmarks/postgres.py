"""A private PostgreSQL for the hubs that share a log, with the settings that it comes with: it syncs each commit."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

DEBIAN = Path("/usr/lib/postgresql")
OWNER = "postgres"


def programs() -> Path | None:
    """Folder of the newest server that is installed, None if there is none."""
    if versions := list(DEBIAN.glob("*/bin/initdb")):
        return max(versions, key=lambda path: float(path.parts[-3])).parent
    found = shutil.which("initdb")
    return Path(found).resolve().parent if found else None


def missing() -> str:
    """Packages that a hub on PostgreSQL lacks, empty if nothing is missing."""
    if not programs():
        return "PostgreSQL (Debian's package postgresql)"
    return "" if find_spec("psycopg") else "psycopg (hookbot[postgres])"


def version() -> str:
    """Version of the server that would run."""
    found = programs()
    return _output([str(found / "postgres"), "--version"]) if found else "not installed"


@contextmanager
def running_postgres(disk: Path) -> Iterator[str]:
    """Address of a new server until the block ends. Its files, and its socket, are in a directory of its own on `disk`.

    Only its own user enters that. It refuses to run as root; then that is `OWNER`, who must be able to reach `disk`.
    """
    found = programs()
    assert found
    with TemporaryDirectory(dir=disk) as name:
        owner: dict[str, Any] = {}
        if os.geteuid() == 0:
            owner = {"user": OWNER, "group": OWNER, "extra_groups": ()}
            shutil.chown(name, OWNER, OWNER)

        def run(program: str, *arguments: str) -> None:
            # A file: the server would keep a pipe.
            with (Path(name) / "output").open("w+") as output:
                command = [str(found / program), "-D", f"{name}/data", *arguments]
                if subprocess.run(command, cwd=name, stdout=output, stderr=output, check=False, **owner).returncode:
                    raise RuntimeError(f"{program} fails:\n{Path(output.name).read_text()[-2000:]}")

        run("initdb", "--auth=trust", "--username=hookbot", "--encoding=UTF8", "--locale=C", "--no-sync")
        run("pg_ctl", "start", "--wait", f"--options=-c listen_addresses= -c unix_socket_directories={name}")
        try:
            yield f"postgresql:///postgres?user=hookbot&host={name}"
        finally:
            run("pg_ctl", "stop", "--wait", "--mode=immediate")


def _output(command: Sequence[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
