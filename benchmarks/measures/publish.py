"""Publishes per second without subscribers, one at a time on each connection; and the duration of a disk sync."""

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from benchmarks.contestants import ANCESTOR, BARE, DURABLE, HOOKBOT, NATS, NO_DOOR, QUART, STARLETTE, Stage
from benchmarks.plan import Plan
from benchmarks.processes import Meter, Process
from benchmarks.room import Room
from benchmarks.samples import Cell, Sample

CONTESTANTS = (DURABLE, HOOKBOT, NO_DOOR, QUART, STARLETTE, NATS, ANCESTOR, BARE)
REFERENCES = {"publishes/s": QUART, "µs of CPU per publish": QUART, "ms for a sync": None}
COUNTED = "connections"
CASE = "1 KB"
BODY = bytes(1000)
SYNCS = 100


def measure(stage: Stage, plan: Plan) -> Iterator[Sample]:
    """For each number of connections, measure the contestants in turns."""
    contestants = stage.present(CONTESTANTS)
    with ExitStack() as stack:
        rooms = {
            one: stack.enter_context(Room(stage.start(one).port, one.protocol, "bench/publish", 0))
            for one in contestants
        }
        for connections in plan.connections:
            for round in range(plan.rounds):
                for one in contestants:
                    cell = Cell("publish", CASE, connections, one.name)
                    yield sample(cell, round, stage.start(one), rooms[one], plan.seconds)
    for round in range(plan.rounds):
        yield Sample(Cell("publish", CASE, 1, "the disk"), round, {"ms for a sync": sync_s(stage.directory) * 1e3})


def sample(cell: Cell, round: int, process: Process, room: Room, seconds: float) -> Sample:
    """Publish for `seconds`, as fast as all connections allow."""
    refused = room.refused
    with room.publishers(cell.n):
        # Warm up.
        room.publish_for(seconds / 10, BODY)
        meter = Meter(process)
        published = room.publish_for(seconds, BODY)
        wall_s, cpu_s, generator = meter.wall_s, meter.cpu_s, meter.generator
    return Sample(
        cell,
        round,
        {
            "publishes/s": published / wall_s,
            "µs of CPU per publish": cpu_s / published * 1e6,
            "generator": generator,
            "refused": room.refused - refused,
        },
    )


def sync_s(directory: Path) -> float:
    """Seconds to append 4 KiB to a file and sync them to the disk, on average."""
    file = directory / "sync"
    with file.open("wb", buffering=0) as writing:
        start = time.perf_counter()
        for _ in range(SYNCS):
            writing.write(bytes(4096))
            os.fdatasync(writing.fileno())
        taken_s = time.perf_counter() - start
    file.unlink()
    return taken_s / SYNCS
