"""The kill matrix of a cluster: what happens to two hubs and their PostgreSQL, one case after the other."""

import shutil
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from end_to_end.crashing.cluster import Cluster
from end_to_end.crashing.cluster_load import Fault, crash_cluster
from end_to_end.crashing.consumer_faults import lose_consumers
from end_to_end.crashing.failover_faults import FAILOVERS
from end_to_end.crashing.hub_faults import freeze_hub, kill_hubs, stall, wait
from end_to_end.crashing.server_faults import (
    dump,
    end_notifications,
    fill_disk,
    freeze_server,
    kill_backends,
    restart_server,
)
from support.postgres import OWNER, PostgresServer, running_postgres
from support.stalling_proxy import stalling_proxy

DURABLE = {"fsync": "on", "full_page_writes": "on"}
DISK = "size=64m"
# Not by libfaketime, under which `time.sleep` of Python 3.11 fails.
AHEAD = """
import runpy
import time

time_ns, time_s = time.time_ns, time.time
time.time_ns = lambda: time_ns() + 3_600_000_000_000
time.time = lambda: time_s() + 3_600
runpy.run_module("hookbot", run_name="__main__", alter_sys=True)
"""

Case = Callable[[PostgresServer, Path, str], Awaitable[str]]
"""Runs one case, given a server, an empty directory and a seed; returns a report. Raises `AssertionError`."""


class Skipped(Exception):
    """A case that this machine does not allow."""


async def crash(server: PostgresServer, directory: Path, seed: str, *, fault: Fault) -> str:
    """A fault that needs nothing else than two hubs and their server."""
    return await crash_cluster(Cluster(server, directory), fault, seed=seed)


async def stall_network(server: PostgresServer, directory: Path, seed: str, *, seconds: float) -> str:
    """Let the network between the server and one hub swallow everything for a while."""
    async with stalling_proxy(server.port) as proxy:
        by_proxy = server.url.replace(f":{server.port}/", f":{proxy.port}/")
        cluster = Cluster(server, directory, stores=[by_proxy, server.url])
        return await crash_cluster(cluster, partial(stall, proxy=proxy, seconds=seconds), seed=seed)


async def set_clock(server: PostgresServer, directory: Path, seed: str, *, seconds: float) -> str:
    """Let the clock of one hub be an hour ahead."""
    cluster = Cluster(server, directory, first_launcher=[sys.executable, "-c", AHEAD])
    fault = partial(wait, seconds=seconds, remark="the clock of the hub that ran the routers was an hour ahead")
    return await crash_cluster(cluster, fault, seed=seed)


async def fill_disk_of_log(server: PostgresServer, directory: Path, seed: str, *, seconds: float) -> str:
    """Fill the disk of a log whose database is on a small one; its server is one of its own."""
    with small_disk() as disk, running_postgres(**DURABLE) as own:
        shutil.chown(disk, OWNER)
        own.execute(f"CREATE TABLESPACE small LOCATION '{disk}'")
        own.execute("CREATE DATABASE small TABLESPACE small")
        cluster = Cluster(own, directory, database="small")
        return await crash_cluster(cluster, partial(fill_disk, disk=disk, seconds=seconds), seed=seed)


@contextmanager
def small_disk() -> Iterator[Path]:
    """A file system in memory, until the block ends."""
    directory = Path(mkdtemp(prefix="hookbot-disk-"))
    try:
        if subprocess.run(["mount", "-t", "tmpfs", "-o", DISK, "hookbot", str(directory)], check=False).returncode:
            raise Skipped("a file system cannot be mounted here: it takes root")
        try:
            yield directory
        finally:
            subprocess.run(["umount", str(directory)], check=True)
    finally:
        directory.rmdir()


def of(fault: Callable[..., Awaitable[str]], **options: Any) -> Case:
    return partial(crash, fault=partial(fault, **options))


CASES: Mapping[str, Case] = {
    "hubs killed": of(kill_hubs, kills=6),
    "hub frozen": of(freeze_hub, seconds=30),
    "holder of cursors and groups killed": partial(lose_consumers, kills=4, frozen_s=15),
    "server restarted": of(restart_server, times=6),
    "backends killed": of(kill_backends, times=3),
    "server frozen": of(freeze_server, seconds=20),
    "notifications ended": of(end_notifications, times=6),
    "network stalled": partial(stall_network, seconds=30),
    "clock ahead": partial(set_clock, seconds=8),
    "pg_dump": of(dump),
    "disk full": partial(fill_disk_of_log, seconds=8),
    **FAILOVERS,
}
