"""Load on two hubs while something happens to them or to their server: in the end nobody has missed anything."""

import random
import time
from collections.abc import Awaitable, Callable, Iterable
from itertools import pairwise

import trio

from end_to_end.crashing.client_listeners import Client
from end_to_end.crashing.cluster import Cluster
from end_to_end.crashing.group import Group
from end_to_end.crashing.listeners import JsonLines, Listener, ServerSentEvents
from end_to_end.crashing.senders import ClientSender, GitHub, HttpxSender, Pipeliner, Sender
from end_to_end.crashing.tables import Stored
from end_to_end.crashing.under_load import listening, until_caught_up
from end_to_end.crashing.verdict import audible, check_github, check_kept, check_log, check_order, check_senders
from end_to_end.crashing.websocket_listeners import V1, CloudEvents

BEFORE_S = AFTER_S = 1.0
"""How long the load lasts before anything happens, and afterwards."""


class Load:
    """Senders and listeners of a cluster."""

    def __init__(self, cluster: Cluster, seed: str) -> None:
        one, other = cluster.hubs
        self.senders: list[Sender] = [
            *(Pipeliner(cluster, f"bursts, with keys {n}", "load/a", seed=seed) for n in range(3)),
            Pipeliner(cluster, "bursts, without", "load/b", keyed=False, seed=seed),
            *(HttpxSender(cluster, f"httpx, with keys {n}", "load/a", seed=seed) for n in range(2)),
            ClientSender(one, "our client 1", "load/d", seed=seed),
            ClientSender(other, "our client 2", "load/d", seed=seed),
            *(GitHub(cluster, f"GitHub {n}", ["acme/app", "acme/site"], seed=seed) for n in range(2)),
        ]
        self.listeners: list[Listener | Group] = [
            V1(cluster, "hookbot.v1", "load/", seed=seed),
            V1(one, "hookbot.v1, at one", "load/", seed=seed),
            V1(other, "hookbot.v1, at two", "load/", seed=seed),
            V1(cluster, "hookbot.v1, routed", "kept/", seed=seed),
            CloudEvents(cluster, "cloudevents.json", "load/b", seed=seed),
            ServerSentEvents(cluster, "server-sent events", "load/", seed=seed),
            JsonLines(cluster, "JSON lines", "", seed=seed),
            Client(one, "our client, at one", "load/", seed=seed),
            Client(other, "our client, at two", "github.com/repo/acme/app", seed=seed),
        ]

    @property
    def alone(self) -> list[Listener]:
        """The listeners that hear everything, not as members of a group."""
        return [listener for listener in self.listeners if isinstance(listener, Listener)]

    @property
    def acknowledged(self) -> int:
        """Number of publishes that were acknowledged."""
        return sum(len(sender.acknowledged) for sender in self.senders)

    async def rate(self, within_s: float) -> float:
        """Publishes that are acknowledged in a second, measured for some time."""
        before, began = self.acknowledged, time.monotonic()
        await trio.sleep(within_s)
        return (self.acknowledged - before) / (time.monotonic() - began)


Fault = Callable[[Cluster, Load, random.Random], Awaitable[str]]
"""Lets something happen under load, and returns what there is to say about it."""


async def crash_cluster(cluster: Cluster, fault: Fault, *, seed: str, make_load: type[Load] = Load) -> str:
    """Let something happen to a cluster under load, and return a report. Raises `AssertionError`."""
    load = make_load(cluster, seed)
    async with cluster.running(), listening(*load.listeners):
        remark = await under_load(cluster, load, fault, seed)
        stored = cluster.stored()
        for listener in load.listeners:
            await until_caught_up(cluster, listener, audible(stored, listener.topic))
    return f"{remark}\n{report(cluster, load)}"


async def under_load(cluster: Cluster, load: Load, fault: Fault, seed: str) -> str:
    """Let something happen while all senders send, and wait until the routers have routed what was sent."""
    async with trio.open_nursery() as sending:
        stop = trio.Event()
        for sender in load.senders:
            sending.start_soon(sender.run, stop)
        await trio.sleep(BEFORE_S)
        remark = await fault(cluster, load, random.Random(seed))
        await trio.sleep(AFTER_S)
        stop.set()
    await cluster.until_routed()
    return remark


async def until_acknowledged(load: Load) -> None:
    """Wait until each sender has had an answer to what it has sent from now on."""
    before = {sender.name: len(sender.acknowledged) for sender in load.senders}
    while any(len(sender.acknowledged) <= before[sender.name] + sender.burst for sender in load.senders):
        await trio.sleep(0.05)


def report(cluster: Cluster, load: Load) -> str:
    """Check everything, and return a summary."""
    stored = check_log(cluster)
    twice = check_senders(load.senders, stored)
    check_order(load.senders)
    routed = check_kept(stored) + check_github(stored)
    for listener in load.listeners:
        listener.check(audible(stored, listener.topic))
    attempts = sum(sender.attempts.total() for sender in load.senders)
    heard = sum(len(listener.heard) for listener in load.listeners)
    sessions = sum(len(listener.sessions) for listener in load.listeners)
    answers = (one.at for sender in load.senders for one in sender.acknowledged)
    outputs = (message.time_us / 1e6 for message in stored if is_output(message))
    return f"""\
  {load.acknowledged} acknowledged, {attempts - load.acknowledged} sent again
  {len(stored)} in the log, {twice} of them twice: the answer was lost, and who sends without a key has to send again
  {routed} published by routers, {heard} heard, on {sessions} connections
  acknowledged lost 0, doubled 0, out of order 0, false gaps 0, routers' output once each
  longest time without an acknowledgement: {longest_pause_s(answers):.1f} s
  longest time without a message of a router: {longest_pause_s(outputs):.1f} s
"""


def is_output(message: Stored) -> bool:
    return message.topic.startswith(("kept/", "github.com/"))


def longest_pause_s(moments: Iterable[float]) -> float:
    """The longest time between two of them."""
    return max((later - earlier for earlier, later in pairwise(sorted(moments))), default=0.0)
