"""Websocket handshakes per second, with all subscribers connecting at once."""

from collections.abc import Iterator

from benchmarks.contestants import ANCESTOR, BARE, HOOKBOT, NATS, NO_DOOR, QUART, STARLETTE, WEBSOCKETS, Stage
from benchmarks.plan import Plan
from benchmarks.processes import Meter
from benchmarks.room import Room
from benchmarks.samples import Cell, Sample

CONTESTANTS = (HOOKBOT, NO_DOOR, QUART, STARLETTE, WEBSOCKETS, NATS, ANCESTOR, BARE)
REFERENCES = {"handshakes/s": QUART, "µs of CPU per handshake": QUART}
COUNTED = "connections"


def measure(stage: Stage, plan: Plan) -> Iterator[Sample]:
    """Measure the contestants in turns, each after the connections to the previous one are cleaned up."""
    count = plan.handshakes
    for round in range(plan.rounds):
        for one in stage.present(CONTESTANTS):
            process = stage.start(one)
            meter = Meter(process)
            with Room(process.port, one.protocol, ["bench/handshakes"] * count):
                values = {
                    "handshakes/s": count / meter.wall_s,
                    "µs of CPU per handshake": meter.cpu_s / count * 1e6,
                    "generator": meter.generator,
                }
            yield Sample(Cell("handshakes", "websocket", count, one.name), round, values)
            stage.settle()
