"""What happens to the server of a cluster, each a `Fault`."""

import os
import random
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import trio

from end_to_end.crashing.cluster import Cluster
from end_to_end.crashing.cluster_load import Load, until_acknowledged
from support.postgres import require_postgres

OF_HUBS = "application_name LIKE 'hookbot %'"
LISTENING = "pg_stat_activity WHERE query LIKE 'LISTEN %'"
LISTENING_S = 30.0  # only ever reached by a hub that does not
MEASURED_S = 10.0


async def restart_server(cluster: Cluster, load: Load, chance: random.Random, *, times: int) -> str:
    """Let the server crash, and start it again."""
    for _ in range(times):
        await trio.sleep(chance.uniform(0, 2))
        await trio.to_thread.run_sync(cluster.server.stop)
        await trio.sleep(chance.uniform(0, 1))
        await trio.to_thread.run_sync(cluster.server.start)
        await until_acknowledged(load)
    return f"the server was stopped immediately and started {times} times"


async def kill_backends(cluster: Cluster, load: Load, chance: random.Random, *, times: int) -> str:
    """End all sessions of hubs, then kill the process of one, which makes the server start all of them again."""
    for _ in range(times):
        await trio.sleep(chance.uniform(0, 2))
        cluster.server.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {OF_HUBS}")
        await until_acknowledged(load)
        await trio.sleep(chance.uniform(0, 2))
        pids = cluster.server.execute(f"SELECT pid FROM pg_stat_activity WHERE {OF_HUBS}")
        os.kill(int(str(chance.choice(pids)[0])), signal.SIGKILL)
        await until_acknowledged(load)
    return f"{times} times all sessions of the hubs were terminated, {times} times the process of one was killed"


async def freeze_server(cluster: Cluster, load: Load, chance: random.Random, *, seconds: float) -> str:
    """Freeze all processes of the server."""
    with cluster.server.frozen():
        await trio.sleep(seconds)
    await until_acknowledged(load)
    return f"the server was frozen for {seconds:.0f} s"


async def end_notifications(cluster: Cluster, load: Load, chance: random.Random, *, times: int) -> str:
    """Terminate the sessions that listen to notifications."""
    for _ in range(times):
        with trio.fail_after(LISTENING_S):
            while len(cluster.server.execute(f"SELECT pid FROM {LISTENING}")) < len(cluster.hubs):
                await trio.sleep(0.1)
        await trio.sleep(chance.uniform(0, 1))
        cluster.server.execute(f"SELECT pg_terminate_backend(pid) FROM {LISTENING}")
    return f"the sessions that listened to notifications were terminated {times} times"


async def dump(cluster: Cluster, load: Load, chance: random.Random) -> str:
    """Let `pg_dump` run beside the load, whose output is read slowly, so that it takes long."""
    alone = await load.rate(MEASURED_S)
    command = [str(require_postgres() / "pg_dump"), cluster.server.url]
    process = await trio.lowlevel.open_process(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    try:
        async with trio.open_nursery() as nursery:
            assert process.stdout
            nursery.start_soon(read_slowly, process.stdout)
            beside = await load.rate(MEASURED_S)
            assert process.poll() is None, "it took not long enough"
        assert await process.wait() == 0
    finally:
        process.kill()
    return f"{alone:.0f} publishes/s alone, {beside:.0f} beside pg_dump: {beside / alone:.0%}"


async def read_slowly(stream: trio.abc.ReceiveStream) -> None:
    """Read so little at first that it cannot end while the rate is measured."""
    began = trio.current_time()
    async for _ in stream:
        if trio.current_time() < began + MEASURED_S:
            await trio.sleep(1)


async def fill_disk(cluster: Cluster, load: Load, chance: random.Random, *, disk: Path, seconds: float) -> str:
    """Fill the disk on which the log lies, and make room again."""
    ballast = disk / "ballast"
    try:
        with ballast.open("wb") as file, suppress(OSError):
            while True:
                file.write(bytes(1 << 16))
                file.flush()
        before = load.acknowledged
        await trio.sleep(seconds)
        during = load.acknowledged - before
    finally:
        ballast.unlink()
    await until_acknowledged(load)
    refused = sum("53100" in hub.log() or "No space left" in hub.log() for hub in cluster.hubs)
    assert refused == len(cluster.hubs), "the disk was not full"
    return f"the disk was full for {seconds:.0f} s; {during} were acknowledged meanwhile"
