"""Memory of an idle subscriber."""

from collections.abc import Iterator

from benchmarks.contestants import ANCESTOR, HOOKBOT, NATS, NO_DOOR, QUART, STARLETTE, WEBSOCKETS, Stage
from benchmarks.plan import Plan
from benchmarks.room import Room
from benchmarks.samples import Cell, Sample

CONTESTANTS = (HOOKBOT, NO_DOOR, QUART, STARLETTE, WEBSOCKETS, NATS, ANCESTOR)
REFERENCES = {"kB each": QUART}
COUNTED = "subscribers"
# Connected before measuring: code and buffers that all subscribers share are loaded for these.
FIRST = 50


def measure(stage: Stage, plan: Plan) -> Iterator[Sample]:
    """Measure a new process of each contestant, whose memory no other measure has used before."""
    for one in stage.present(CONTESTANTS):
        with stage.fresh(one) as process, Room(process.port, one.protocol, ["bench/idle"] * FIRST):
            before = process.rss_bytes
            with Room(process.port, one.protocol, ["bench/idle"] * plan.idle):
                each = (process.rss_bytes - before) / plan.idle
        yield Sample(Cell("idle", "RSS", plan.idle, one.name), 0, {"kB each": each / 1000})
