"""Proxies in a process of their own."""

import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import pytest
import trio


@asynccontextmanager
async def running_proxy(
    command: Sequence[str], *, started: bytes, env: Mapping[str, str] | None = None
) -> AsyncIterator[None]:
    """A proxy from the moment that it prints `started` on, until the block ends."""
    process = await trio.lowlevel.open_process(command, stderr=subprocess.PIPE, env=env)
    try:
        await _wait_until(started, process)
        yield
    finally:
        process.terminate()
        await process.wait()


async def _wait_until(started: bytes, process: trio.Process) -> None:
    """Wait until it has printed that; fail with what it has printed if it ends."""
    assert process.stderr
    printed = b""
    while started not in printed:
        more = await process.stderr.receive_some()
        if not more:
            pytest.fail(printed.decode())
        printed += more
