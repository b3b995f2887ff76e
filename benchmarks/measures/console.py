"""Cost of the live page of the console for the hub and its other listeners, and whether the page stays responsive."""

import sys
from collections.abc import Iterator

from benchmarks.browser import missing, watched_page
from benchmarks.contestants import DURABLE, HOOKBOT, Contestant, Stage
from benchmarks.flat_out import percentiles
from benchmarks.plan import Plan
from benchmarks.processes import Meter, Process
from benchmarks.room import Room
from benchmarks.samples import Cell, Sample, Values
from benchmarks.supply import plain

CONTESTANTS = (HOOKBOT, DURABLE)
REFERENCES = {
    "ms, p50": None,
    "ms, p99": None,
    "µs of CPU per publish": None,
    "ms per frame, p99": None,
    "ms per frame, most": None,
}
COUNTED = "open pages"
RATE = 500
CASE = f"{RATE} messages of 1 KB a second to a listener"
TOPIC = "bench/console"
SIZE = 1000
LONGER = 30


def measure(stage: Stage, plan: Plan) -> Iterator[Sample]:
    """Measure the contestants without a page, and with one. Without a browser, say so, and measure nothing."""
    if what := missing():
        print(f"console is left out: {what} is not installed", file=sys.stderr, flush=True)
        return
    for one in stage.present(CONTESTANTS):
        with stage.fresh(one) as process, Room(process.port, one.protocol, [TOPIC]) as room:
            for round in range(plan.rounds):
                seconds = plan.seconds * LONGER
                yield Sample(Cell("console", CASE, 0, one.name), round, paced(process, one, room, seconds))
                with watched_page(process.port) as frames:
                    values = paced(process, one, room, seconds)
                    yield Sample(Cell("console", CASE, 1, one.name), round, {**values, **frames()})


def paced(process: Process, one: Contestant, room: Room, seconds: float) -> Values:
    """Publish at the fixed rate until the listener has received everything."""
    refused = room.refused
    with room.publishers(16):
        meter = Meter(process)
        published = room.pace(RATE, seconds, plain(one.protocol, [TOPIC], SIZE))
        generator, cpu_s = meter.generator, meter.cpu_s
    return {
        **percentiles(published.delivered_s),
        "µs of CPU per publish": cpu_s / published.messages * 1e6,
        "generator": generator,
        "refused": room.refused - refused,
    }
