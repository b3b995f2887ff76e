"""Everything at once, and the hub killed at any moment: in the end nobody has missed anything."""

import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from end_to_end.crashing.client_listeners import Client, ClientCursor
from end_to_end.crashing.forwarding import Forward
from end_to_end.crashing.group import Group
from end_to_end.crashing.hub import Reachable
from end_to_end.crashing.listeners import Heard, JsonLines, Listener, ServerSentEvents
from end_to_end.crashing.senders import ClientSender, GitHub, HttpxSender, Pipeliner, Sender
from end_to_end.crashing.sqlite_hub import SqliteHub
from end_to_end.crashing.verdict import audible, check_github, check_kept, check_log, check_senders, check_turns
from end_to_end.crashing.websocket_listeners import V1, CloudEvents, Cursor, Raw

CATCHING_UP_S = 40  # without any progress: only ever reached by a test that fails
STARTING_S = 1.5


async def crash_under_load(directory: Path, *, kills: int, seed: str, life_s: float = 2.0) -> str:
    """Kill a hub several times, and return a report. Raises `AssertionError`."""
    hub = SqliteHub(directory)
    senders = make_senders(hub, seed)
    listeners, groups = make_listeners(hub, seed)
    with hub.running():
        async with listening(*listeners, *groups):
            async with trio.open_nursery() as sending:
                stop = trio.Event()
                for sender in senders:
                    sending.start_soon(sender.run, stop)
                await keep_killing(hub, kills, life_s, random.Random(seed))
                stop.set()
            for group in groups:
                group.stuck = None
            await until_nothing_moves(hub, [*listeners, *groups])
        await hub.stop()
    return report(hub, senders, [*listeners, *groups])


@asynccontextmanager
async def listening(*listeners: Any) -> AsyncIterator[None]:
    """Run the listeners until the block ends."""
    async with trio.open_nursery() as nursery:
        for listener in listeners:
            nursery.start_soon(listener.run)
        try:
            yield
        finally:
            for listener in listeners:
                listener.end()


def make_senders(hub: SqliteHub, seed: str) -> list[Sender]:
    return [
        *(Pipeliner(hub, f"bursts, with keys {n}", "load/a", seed=seed) for n in range(6)),
        *(Pipeliner(hub, f"bursts, without {n}", "load/b", keyed=False, seed=seed) for n in range(6)),
        HttpxSender(hub, "httpx, with keys", "load/a", seed=seed),
        HttpxSender(hub, "httpx, without", "load/b/c", keyed=False, seed=seed),
        ClientSender(hub, "our client", "load/d", seed=seed),
        HttpxSender(hub, "now and then", "quiet", pause_s=1.5, seed=seed),
        *(GitHub(hub, f"GitHub {n}", ["acme/app", "acme/site", "acme/ops"], seed=seed) for n in range(4)),
    ]


def make_listeners(hub: SqliteHub, seed: str) -> tuple[list[Listener], list[Group]]:
    listeners: list[Listener] = [
        Raw(hub, "raw, one topic", "load/a", seed=seed),
        Raw(hub, "raw, a subtree", "load/", seed=seed),
        V1(hub, "hookbot.v1", "load/", seed=seed),
        V1(hub, "hookbot.v1, quiet", "quiet", seed=seed),
        Cursor(hub, "cursor", "load/", seed=seed),
        CloudEvents(hub, "cloudevents.json", "load/b", seed=seed),
        ServerSentEvents(hub, "server-sent events", "load/", seed=seed),
        JsonLines(hub, "JSON lines", "", seed=seed),
        JsonLines(hub, "JSON lines, routed", "kept/", seed=seed),
        Client(hub, "our client", "load/", seed=seed),
        Client(hub, "our client, cursor", "load/", cursor="running", seed=seed),
        Client(hub, "our client, group", "load/", group="running", max_unacked=50, seed=seed),
        Client(hub, "our client, routed", "github.com/repo/acme/app", seed=seed),
        ClientCursor(hub, "our-cursor", "load/b/", seed=seed),
        Forward(hub, "forward, cursor", "load/d", "--cursor", "forward", seed=seed),
        Forward(hub, "forward, group", "quiet", "--group", "forward", seed=seed),
    ]
    groups = [
        Group([hub], "group", "load/a", seed=seed),
        Group([hub], "ordered-group", "load/", by_topic=True, seed=seed),
        Group([hub], "stuck-group", "load/", by_topic=True, stuck="load/d", seed=seed),
    ]
    return listeners, groups


async def keep_killing(hub: SqliteHub, kills: int, life_s: float, chance: random.Random) -> None:
    """Kill the hub at random moments, one in six times while it starts; then stop it in order, and start it again."""
    for _ in range(kills):
        hub.start()
        if chance.random() < 1 / 6:
            await trio.sleep(chance.uniform(0, STARTING_S))
        else:
            await hub.ready()
            await trio.sleep(chance.uniform(0, life_s))
        hub.kill()
    for stopped in (True, False):
        hub.start()
        await hub.ready()
        await trio.sleep(life_s / 2)
        if stopped:
            await hub.stop()


async def until_nothing_moves(hub: SqliteHub, listeners: Sequence[Listener | Group]) -> None:
    """Wait until routers and listeners have caught up; raise the difference that is left when they no longer do."""
    with trio.move_on_after(CATCHING_UP_S):
        while any(router["lag"] for router in (await hub.ask("/hookbot/v1/routers"))["routers"]):
            await trio.sleep(0.1)
    stored = hub.stored()
    for listener in listeners:
        await until_caught_up(hub, listener, audible(stored, listener.topic))
    with trio.fail_after(CATCHING_UP_S):
        while any(cursor["lag"] for cursor in (await hub.ask("/hookbot/v1/cursors"))["cursors"]):
            await trio.sleep(0.1)


async def until_caught_up(hub: Reachable, listener: Listener | Group, expected: list[Heard]) -> None:
    """Wait until a listener has heard everything; raise what is missing when it hears nothing more."""
    heard, heard_at = -1, 0.0
    while True:
        try:
            listener.check(expected)
            return
        except AssertionError:
            hub.check_alive()
            if len(listener.heard) > heard:
                heard, heard_at = len(listener.heard), trio.current_time()
            if trio.current_time() > heard_at + CATCHING_UP_S:
                raise
        await trio.sleep(0.2)


def report(hub: SqliteHub, senders: list[Any], listeners: list[Any]) -> str:
    """Check everything, and return a summary."""
    stored = check_log(hub)
    twice = check_senders(senders, stored)
    check_turns(senders)
    kept, routed = check_kept(stored), check_github(stored)
    lines = [
        f"{hub.kills} kills, {len(stored)} messages in the log; its integrity check passes",
        f"{twice} of them are there twice: the answer was lost, and who sends without a key has to send again",
        "",
        "acknowledged",
    ]
    acknowledged: Counter[str] = Counter()
    attempts: Counter[str] = Counter()
    for sender in senders:
        kind = sender.name.rstrip(" 0123456789")
        acknowledged[kind] += len(sender.acknowledged)
        attempts[kind] += sender.attempts.total()
    lines += [f"  {kind:22}{n:8}, {attempts[kind] - n:6} sent again" for kind, n in acknowledged.items()]
    lines += ["", "published by routers, each once", f"  {'filter':22}{kept:8}", f"  {'github':22}{routed:8}"]
    lines += ["", "heard"]
    again = {listener.name: listener.check(audible(stored, listener.topic)) for listener in listeners}
    for listener in listeners:
        counts = f"{len(listener.heard):8}, {again[listener.name]:6} of them again"
        lines.append(f"  {listener.name:22}{counts}, on {len(listener.sessions)} connections")
        if isinstance(listener, Cursor | Group):
            lines.append(f"{len(listener.acknowledgements.forgotten):32} of them were acknowledged as the hub died")
    return "\n".join(lines)
