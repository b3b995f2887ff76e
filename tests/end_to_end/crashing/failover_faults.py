"""Failovers of the server of a cluster to its replica, and what others do on it."""

import random
import subprocess
import time
from bisect import bisect
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import trio

from end_to_end.crashing.cluster import Cluster
from end_to_end.crashing.cluster_load import Load, crash_cluster, under_load, until_acknowledged
from end_to_end.crashing.failover_verdict import check_ids, report_loss
from end_to_end.crashing.listeners import Heard, Listener
from end_to_end.crashing.server_faults import OF_HUBS
from end_to_end.crashing.tables import Stored
from end_to_end.crashing.under_load import listening
from end_to_end.crashing.verdict import audible, check_log
from end_to_end.crashing.websocket_listeners import V1
from support.postgres import PostgresServer, require_postgres, running_postgres
from support.replicas import Standby, standby_of, url_of_all

FAILED_OVER_S = 30  # only ever reached by a test that fails
OTHERS = 200
OTHERS_S = 5.0
NOTIFY = "NOTIFY others;\n\\sleep 100 ms\n"
NOTIFYING = "pg_stat_activity WHERE query LIKE 'NOTIFY others%'"


async def fail_over_to_synchronous(server: PostgresServer, directory: Path, seed: str) -> str:
    """Fail over to a standby that has everything that was acknowledged."""
    with standby_of(server, synchronous=True) as standby:
        return await crash_cluster(
            cluster_on(server, standby, directory), partial(fail_over, standby=standby), seed=seed
        )


async def return_of_primary(server: PostgresServer, directory: Path, seed: str) -> str:
    """Fail over, and let the old primary come back, which is the first host."""
    with standby_of(server, synchronous=True) as standby:
        fault = partial(let_primary_return, primary=server, standby=standby)
        return await crash_cluster(cluster_on(server, standby, directory), fault, seed=seed)


async def fail_over_to_asynchronous(server: PostgresServer, directory: Path, seed: str) -> str:
    """Fail over to a standby that lacks the newest messages."""
    with standby_of(server) as standby:
        cluster = cluster_on(server, standby, directory)
        load = Load(cluster, seed)
        for listener in load.alone:
            listener.may_miss_by = "failover"
        async with cluster.running(), listening(*load.listeners):
            remark = await under_load(cluster, load, partial(lose_tail, standby=standby), seed)
            stored = check_log(cluster)
            check_ids(load, stored)
            late = resuming(cluster, load, stored)
            async with listening(*late):
                load.listeners += late
                for listener in load.alone:
                    await until_heard(listener, audible(stored, listener.topic)[-1])
        # No hub is there any more that could take it for the primary.
        await trio.to_thread.run_sync(server.start)
        return f"{remark}\n{report_loss(load, cluster.stored(server), stored)}"


def resuming(cluster: Cluster, load: Load, stored: Sequence[Stored]) -> list[Listener]:
    """Listeners that come back to each hub after the last message before what was lost, and after some of that."""
    kept = [message.id for message in stored]
    lost = sorted({message.id for listener in load.listeners for message in listener.heard} - {*kept})
    places = ["all", kept[bisect(kept, lost[0]) - 1], lost[0], lost[len(lost) // 2], lost[-1]]
    late: list[Listener] = []
    for id in places:
        for hub in cluster.hubs:
            listener = V1(hub, f"since {id}", "load/")
            listener.since = id
            listener.may_miss_by = "failover"
            late.append(listener)
    return late


async def until_heard(listener: Listener, message: Heard) -> None:
    with trio.fail_after(FAILED_OVER_S):
        while not listener.heard or listener.heard[-1] != message:
            await trio.sleep(0.1)


def cluster_on(primary: PostgresServer, standby: Standby, directory: Path) -> Cluster:
    return Cluster(primary, directory, stores=[url_of_all(primary, standby)] * 2)


async def fail_over(cluster: Cluster, load: Load, chance: random.Random, *, standby: Standby) -> str:
    """Let the primary crash, and the standby take its place."""
    await trio.to_thread.run_sync(cluster.server.stop)
    await trio.to_thread.run_sync(standby.promote)
    cluster.server = standby
    await until_acknowledged(load)
    return "the primary crashed, and its standby was promoted"


async def lose_tail(cluster: Cluster, load: Load, chance: random.Random, *, standby: Standby) -> str:
    """Fail over to a standby that has received nothing for a while, and then let another hub take the place of one."""
    await trio.to_thread.run_sync(standby.detach)
    await until_acknowledged_by_any(load)
    await trio.sleep(chance.choice([0, 0.5]))
    remark = await fail_over(cluster, load, chance, standby=standby)
    hub = chance.choice(cluster.hubs)
    await hub.stop()
    hub.start()
    await hub.ready()
    return f"{remark}, which was behind; one of the hubs was restarted"


async def until_acknowledged_by_any(load: Load) -> None:
    """Wait until some sender has had an answer to what it has sent from now on."""
    now = time.monotonic()
    # None may have been answered yet.
    while not any(sender.first_sent[one.body] > now for sender in load.senders for one in sender.acknowledged[-1:]):
        await trio.sleep(0.001)


async def let_primary_return(
    cluster: Cluster, load: Load, chance: random.Random, *, primary: PostgresServer, standby: Standby
) -> str:
    """Start the old primary beside the new one, let hubs connect again, restart one of them, and the new primary."""
    await fail_over(cluster, load, chance, standby=standby)
    await trio.to_thread.run_sync(primary.start)
    left = cluster.stored(primary)
    standby.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {OF_HUBS}")
    await until_acknowledged(load)
    hub = chance.choice(cluster.hubs)
    hub.kill()
    hub.start()
    await hub.ready()
    await until_acknowledged(load)
    await trio.to_thread.run_sync(standby.stop)
    with trio.fail_after(FAILED_OVER_S):
        while not all("the server is an old primary" in hub.log() for hub in cluster.hubs):
            await trio.sleep(0.1)
    await trio.to_thread.run_sync(standby.start)
    await until_acknowledged(load)
    assert cluster.stored(primary) == left, "something was stored on the old primary"
    return "the old primary came back beside the promoted one, and was refused, also by a hub that was started then"


async def notify_beside(server: PostgresServer, directory: Path, seed: str) -> str:
    """Let many connections of somebody else notify; their server is one that has room for them."""
    with running_postgres(fsync="on", full_page_writes="on", max_connections=f"{OTHERS + 50}") as own:
        script = directory / "notifying"
        script.write_text(NOTIFY)
        return await crash_cluster(Cluster(own, directory), partial(measure_beside, script=script), seed=seed)


async def measure_beside(cluster: Cluster, load: Load, chance: random.Random, *, script: Path) -> str:
    """Measure the rate of publishes with and without the others."""
    alone = await load.rate(OTHERS_S)
    command = [str(require_postgres() / "pgbench"), f"--client={OTHERS}", "--no-vacuum", f"--file={script}"]
    process = await trio.lowlevel.open_process(
        [*command, "--time=600", cluster.server.url], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        with trio.fail_after(FAILED_OVER_S):
            while len(cluster.server.execute(f"SELECT pid FROM {NOTIFYING}")) < OTHERS:
                await trio.sleep(0.1)
        beside = await load.rate(OTHERS_S)
        assert process.poll() is None, "it took not long enough"
    finally:
        process.kill()
    return f"{alone:.0f} publishes/s alone, {beside:.0f} beside {OTHERS} connections that notify: {beside / alone:.0%}"


FAILOVERS = {
    "failover, synchronous": fail_over_to_synchronous,
    "failover, asynchronous": fail_over_to_asynchronous,
    "old primary": return_of_primary,
    "others notify": notify_beside,
}
