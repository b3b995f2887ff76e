"""A backlog of an organisation's deliveries, and the hub killed while it routes them: every repository gets its own."""

import random
from pathlib import Path

import trio

from end_to_end.crashing.client_listeners import Client
from end_to_end.crashing.senders import GitHub
from end_to_end.crashing.sqlite_hub import SqliteHub
from end_to_end.crashing.under_load import listening, until_nothing_moves
from end_to_end.crashing.verdict import audible, check_github, check_log, check_senders, check_turns
from end_to_end.crashing.websocket_listeners import V1

SENDERS = 50  # whose deliveries share their commits
REPOSITORIES = [f"acme/app-{number}" for number in range(20)]


async def crash_while_routing(directory: Path, *, deliveries: int, kills: int, seed: str) -> str:
    """Kill a hub several times while it routes deliveries, and return a report. Raises `AssertionError`."""
    hub = SqliteHub(directory)
    share = deliveries // SENDERS
    senders = [GitHub(hub, f"GitHub {n}", REPOSITORIES, pause_s=0, limit=share, seed=seed) for n in range(SENDERS)]
    listeners = [
        (V1, Client)[n % 2](hub, name, f"github.com/repo/{name}", seed=seed) for n, name in enumerate(REPOSITORIES)
    ]
    with hub.running():
        await make_backlog(hub, senders)
        async with listening(*listeners):
            moments = await kill_while_it_routes(hub, kills, deliveries, random.Random(seed))
            await until_nothing_moves(hub, listeners)
        await hub.stop()
    return f"killed when the routers had published {moments}\n{report(hub, senders, listeners)}"


async def make_backlog(hub: SqliteHub, senders: list[GitHub]) -> None:
    """Start the routers once; then publish deliveries while they do not run."""
    hub.start()
    await hub.ready()
    await hub.stop()
    hub.start(routers=())
    await hub.ready()
    async with trio.open_nursery() as sending:
        for sender in senders:
            sending.start_soon(sender.run, trio.Event())
    await hub.stop()


async def kill_while_it_routes(hub: SqliteHub, kills: int, deliveries: int, chance: random.Random) -> list[int]:
    """Kill the hub after a number of publishes, several times; leave it running, and return the numbers."""
    began = hub.head()
    moments = []
    for routed in sorted(chance.sample(range(deliveries), kills)):
        hub.start()
        await hub.ready()
        while hub.head() < began + routed:
            await trio.sleep(0.005)
        hub.kill()
        moments.append(hub.head() - began)
    hub.start()
    await hub.ready()
    return moments


def report(hub: SqliteHub, senders: list[GitHub], listeners: list[V1 | Client]) -> str:
    """Check everything, and return a summary."""
    stored = check_log(hub)
    check_senders(senders, stored)
    check_turns(senders)
    routed = check_github(stored)
    for listener in listeners:
        listener.check(audible(stored, listener.topic))
    heard = sum(len(listener.heard) for listener in listeners)
    return (
        f"{hub.kills} kills; {heard} deliveries made the router publish {routed} messages, each of them once\n"
        f"the listeners of {len(listeners)} repositories heard {heard}, each its own, none twice"
    )
