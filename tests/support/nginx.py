"""An nginx in a process of its own, with a site that the repository shows."""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from .proxies import running_proxy

# CI has it: there, a test that is skipped would be a hole that nobody sees.
needs_nginx = pytest.mark.skipif(shutil.which("nginx") is None and "CI" not in os.environ, reason="needs nginx")

# What Debian's nginx.conf has around a site, with every path of its own.
AROUND = """
daemon off;
pid {directory}/pid;
error_log stderr notice;
events {{}}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    include {directory}/site;
}}
"""


@asynccontextmanager
async def running_nginx(site: str, directory: Path) -> AsyncIterator[None]:
    """nginx with a site, until the block ends; its files are in a directory."""
    (directory / "site").write_text(site)
    (directory / "nginx.conf").write_text(AROUND.format(directory=directory))
    command = ["nginx", "-p", str(directory), "-c", str(directory / "nginx.conf")]
    # It has workers then.
    async with running_proxy(command, started=b"start worker process "):
        yield
