"""Memory of an idle subscriber."""

import ssl
from collections.abc import Iterator

from benchmarks.contestants import ANCESTOR, HOOKBOT, NATS, NO_DOOR, QUART, STARLETTE, WEBSOCKETS, Contestant, Stage
from benchmarks.plan import Plan
from benchmarks.processes import settle
from benchmarks.room import Room
from benchmarks.samples import Cell, Sample

CONTESTANTS = (HOOKBOT, NO_DOOR, QUART, STARLETTE, WEBSOCKETS, NATS, ANCESTOR)
REFERENCES = {"kB each": QUART}
COUNTED = "subscribers"
# Connected before measuring: code and buffers that all subscribers share are loaded for these.
FIRST = 50


def measure(stage: Stage, plan: Plan) -> Iterator[Sample]:
    """Measure the contestants one after the other."""
    for one in stage.present(CONTESTANTS):
        yield Sample(Cell("idle", "RSS", plan.idle, one.name), 0, {"kB each": kb_each(stage, one, plan.idle)})


def kb_each(stage: Stage, one: Contestant, subscribers: int, tls: ssl.SSLContext | None = None) -> float:
    """Memory of an idle subscriber in a new process, whose memory no other measure has used before."""
    with stage.fresh(one) as process, Room(process.port, one.protocol, ["bench/idle"] * FIRST, tls=tls):
        # What a hub imports only after its start is not for subscribers.
        settle([process])
        before = process.rss_bytes
        with Room(process.port, one.protocol, ["bench/idle"] * subscribers, tls=tls):
            return (process.rss_bytes - before) / subscribers / 1000
