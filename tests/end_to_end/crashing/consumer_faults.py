"""What happens to the hub that serves cursors and groups of a cluster, whose clients are at both hubs."""

import random
import time
from functools import partial
from pathlib import Path

import trio

from end_to_end.crashing.acknowledgements import Forgotten
from end_to_end.crashing.client_listeners import Client, ClientCursor
from end_to_end.crashing.cluster import Cluster, Place
from end_to_end.crashing.cluster_load import Load, crash_cluster, longest_pause_s
from end_to_end.crashing.group import Group
from end_to_end.crashing.hub import Hub
from end_to_end.crashing.senders import ClientSender, HttpxSender, Pipeliner
from end_to_end.crashing.websocket_listeners import Cursor
from support.postgres import PostgresServer

SERVED_S = 40  # only ever reached by a test that fails
DUTY = "group /sub/load/ ordered-group"
"""What the hub that is killed has; usually it has all others as well."""


class ConsumerLoad(Load):
    """Senders, and clients of cursors and groups that come to either hub."""

    def __init__(self, cluster: Cluster, seed: str) -> None:
        one, other = places = [Place(cluster, hub) for hub in cluster.hubs]
        self.senders = [
            Pipeliner(cluster, "bursts, with keys", "load/a", pause_s=0.2, seed=seed),
            Pipeliner(cluster, "bursts, without", "load/b", keyed=False, pause_s=0.2, seed=seed),
            *(HttpxSender(cluster, f"httpx {n}", f"load/c/{n}", pause_s=0.1, seed=seed) for n in range(3)),
            ClientSender(cluster.hubs[0], "our client 1", "load/d", seed=seed),
            ClientSender(cluster.hubs[1], "our client 2", "load/d", seed=seed),
        ]
        self.listeners = [
            Group(places, "group", "load/", members=4, seed=seed),
            Group(places, "ordered-group", "load/", members=4, by_topic=True, seed=seed),
            Cursor(cluster, "cursor", "load/", seed=seed),
            Cursor(cluster, "cursor-taken-over", "load/", seed=seed, takeover=1),
            ClientCursor(cluster, "our-cursor", "load/", seed=seed),
            Client(one, "our client at one, cursor", "load/", cursor="at-one", seed=seed),
            Client(other, "our client at two, cursor", "load/", cursor="at-two", seed=seed),
        ]


async def lose_holder(
    cluster: Cluster, load: Load, chance: random.Random, *, kills: int, frozen_s: float, life_s: float = 2.0
) -> str:
    """Kill the hub that serves the cursors and groups, again and again; then freeze the one that does."""
    began = time.monotonic()
    for number in range(kills):
        hub = await until_served(cluster, load)
        await trio.sleep(chance.uniform(0, life_s))
        hub.kill()
        if number % 2:
            # The other one takes over before; otherwise this one may get back what it had.
            await until_taken_over(cluster, hub)
        hub.start()
        await hub.ready()
    hub = await until_served(cluster, load)
    remarks = [f"the hub that served a group was killed {kills} times; without a message {pauses(load, began)}"]
    if frozen_s:
        began = time.monotonic()
        with hub.frozen():
            await trio.sleep(frozen_s)
        await until_served(cluster, load)
        remarks.append(
            f"then the one that did was frozen for {frozen_s:.0f} s; without a message {pauses(load, began)}"
        )
    remarks.append(f"{len(forgotten(load))} messages came again that were acknowledged just before")
    return "\n  ".join(remarks)


def forgotten(load: Load) -> list[Forgotten]:
    """What came again after its acknowledgement."""
    return [
        one
        for client in load.listeners
        if isinstance(client, Cursor | Group)
        for one in client.acknowledgements.forgotten
    ]


def pauses(load: Load, began: float) -> str:
    """The longest time without a message of each listener, since `began`."""
    longest = {one.name: longest_pause_s(at for at in one.heard_at if at > began) for one in load.listeners}
    return ", ".join(f"{name} {seconds:.1f} s" for name, seconds in longest.items())


async def until_served(cluster: Cluster, load: Load) -> Hub:
    """Wait until all clients hear what is sent from now on; returns the hub that serves the ordered group."""
    began = time.monotonic()
    with trio.fail_after(SERVED_S):
        while any(max(listener.heard_at, default=0) < began for listener in load.listeners):
            await trio.sleep(0.1)
        while (hub := cluster.holder(DUTY)) is None:
            await trio.sleep(0.1)
    return hub


async def until_taken_over(cluster: Cluster, hub: Hub) -> None:
    """Wait until another hub serves the ordered group."""
    with trio.fail_after(SERVED_S):
        while cluster.holder(DUTY) in (None, hub):
            await trio.sleep(0.1)


async def lose_consumers(
    server: PostgresServer, directory: Path, seed: str, *, kills: int, frozen_s: float = 0, life_s: float = 2.0
) -> str:
    """Run two hubs with cursors and groups, of which the one that serves them is lost."""
    fault = partial(lose_holder, kills=kills, frozen_s=frozen_s, life_s=life_s)
    return await crash_cluster(Cluster(server, directory), fault, seed=seed, make_load=ConsumerLoad)
