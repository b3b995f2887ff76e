"""A Caddy in a process of its own, with a site that the repository shows."""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from .proxies import running_proxy

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
    async with running_proxy(command, started=b"serving initial configuration", env=env):
        yield
