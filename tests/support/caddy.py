"""A Caddy in a process of its own, with a site that the repository shows."""

import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

# CI has it: there, a test that is skipped would be a hole that nobody sees.
needs_caddy = pytest.mark.skipif(shutil.which("caddy") is None and "CI" not in os.environ, reason="needs caddy")

# Nobody else's ports, and nothing asked of the internet.
AROUND = "{\n    admin off\n    auto_https off\n}\n"


@asynccontextmanager
async def running_caddy(site: str, directory: Path) -> AsyncIterator[None]:
    """Caddy with a site, until the block ends; its files are in a directory."""
    (directory / "Caddyfile").write_text(AROUND + site)
    command = ["caddy", "run", "--config", str(directory / "Caddyfile"), "--adapter", "caddyfile"]
    env = {**os.environ, "HOME": str(directory), "XDG_DATA_HOME": str(directory), "XDG_CONFIG_HOME": str(directory)}
    process = await trio.lowlevel.open_process(command, stderr=subprocess.PIPE, env=env)
    try:
        await _wait_until_started(process)
        yield
    finally:
        process.terminate()
        await process.wait()


async def _wait_until_started(process: trio.Process) -> None:
    """Wait until Caddy listens; fail with what it has printed if it ends."""
    assert process.stderr
    printed = b""
    while b"serving initial configuration" not in printed:
        more = await process.stderr.receive_some()
        if not more:
            pytest.fail(printed.decode())
        printed += more
