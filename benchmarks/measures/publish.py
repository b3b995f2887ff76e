"""Publishes per second without subscribers, one at a time on each connection; the answer beside a sync of the disk."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from benchmarks.contestants import ANCESTOR, BARE, DURABLE, HOOKBOT, JETSTREAM, NATS, NO_DOOR, QUART, STARLETTE, Stage
from benchmarks.plan import Plan
from benchmarks.processes import Meter, Process
from benchmarks.room import Room
from benchmarks.samples import Cell, Sample, Values
from benchmarks.supply import Supply, plain

CONTESTANTS = (DURABLE, HOOKBOT, NO_DOOR, QUART, STARLETTE, NATS, JETSTREAM, ANCESTOR, BARE)
REFERENCES = {"publishes/s": QUART, "µs of CPU per publish": QUART, "ms, p50 of the answer": None}
COUNTED = "connections"
CASE = "1 KB"
SIZE = 1000
TOPIC = "bench/publish"
SYNCS = 100
DISK = "an fdatasync of as much"


def measure(stage: Stage, plan: Plan) -> Iterator[Sample]:
    """For each number of connections, measure the contestants in turns."""
    for connections in plan.connections:
        for round in range(plan.rounds):
            for one in stage.present(CONTESTANTS):
                process = stage.start(one)
                with Room(process.port, one.protocol, []) as room, room.publishers(connections):
                    values = publishes(process, room, plain(one.protocol, [TOPIC], SIZE), plan.seconds)
                yield Sample(Cell("publish", CASE, connections, one.name), round, values)
            yield Sample(
                Cell("publish", CASE, 1, DISK), round, {"ms, p50 of the answer": sync_s(stage.directory) * 1e3}
            )


def publishes(process: Process, room: Room, supply: Supply, seconds: float) -> Values:
    """Publish for `seconds`, as fast as all connections allow."""
    # Warm up.
    room.publish_for(seconds / 10, supply)
    supply.prepare(seconds)
    meter, refused = Meter(process), room.refused
    published = room.publish_for(seconds, supply)
    return {
        "publishes/s": published.messages / meter.wall_s,
        "µs of CPU per publish": meter.cpu_s / published.messages * 1e6,
        "ms, p50 of the answer": median(published.answered_s) * 1e3,
        "generator": meter.generator,
        "refused": room.refused - refused,
    }


def sync_s(directory: Path) -> float:
    """Seconds to append as much as a publish to a file and sync it to the disk: the median."""
    file = directory / "sync"
    taken_s = []
    with file.open("wb", buffering=0) as writing:
        for _ in range(SYNCS):
            start = time.perf_counter()
            writing.write(bytes(SIZE))
            os.fdatasync(writing.fileno())
            taken_s.append(time.perf_counter() - start)
    file.unlink()
    return median(taken_s)
