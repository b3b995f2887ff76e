"""What happens to the hubs of a cluster, each a `Fault`."""

import random
import time

import trio

from end_to_end.crashing.cluster import Cluster
from end_to_end.crashing.cluster_load import Load, until_acknowledged
from end_to_end.crashing.hub import ROUTERS, Hub
from support.stalling_proxy import StallingProxy

TAKEN_OVER_S = 30  # only ever reached by a test that fails


async def kill_hubs(cluster: Cluster, load: Load, chance: random.Random, *, kills: int, life_s: float = 2.0) -> str:
    """Kill one hub after the other under load, and start it again."""
    for number in range(kills):
        await trio.sleep(chance.uniform(0, life_s))
        hub = cluster.hubs[number % 2]
        hub.kill()
        await trio.sleep(chance.uniform(0, life_s))
        hub.start()
        await hub.ready()
    return f"a hub was killed {kills} times, alternately"


async def freeze_hub(cluster: Cluster, load: Load, chance: random.Random, *, seconds: float) -> str:
    """Freeze the hub that runs routers, and let it go on when the other one has taken over."""
    frozen = cluster.router_hub("kept")
    assert frozen
    with frozen.frozen():
        took_s = await until_taken_over(cluster, frozen)
        await trio.sleep(max(0, seconds - took_s))
    await until_acknowledged(load)
    return f"the hub with routers was frozen for {max(seconds, took_s):.0f} s; the other ran all after {took_s:.1f} s"


async def until_taken_over(cluster: Cluster, hub: Hub) -> float:
    """Wait until the other hub runs all routers; returns how long it took."""
    began = time.monotonic()
    with trio.fail_after(TAKEN_OVER_S):
        while any(cluster.router_hub(router) in (None, hub) for router in ROUTERS):
            await trio.sleep(0.1)
    return time.monotonic() - began


async def stall(cluster: Cluster, load: Load, chance: random.Random, *, proxy: StallingProxy, seconds: float) -> str:
    """Let nothing pass between the server and the hub that runs the routers."""
    with proxy.stalled():
        took_s = await until_taken_over(cluster, cluster.hubs[0])
        await trio.sleep(max(0, seconds - took_s))
    await until_acknowledged(load)
    return (
        f"the network to a hub passed nothing for {seconds:.0f} s; the other one ran all routers after {took_s:.1f} s"
    )


async def wait(cluster: Cluster, load: Load, chance: random.Random, *, seconds: float, remark: str) -> str:
    """Let nothing happen for a while."""
    await trio.sleep(seconds)
    return remark
