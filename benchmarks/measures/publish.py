"""Publishes per second without subscribers, one at a time on each connection; the answer beside a sync of the disk."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from benchmarks.contestants import ANCESTOR, BARE, DURABLE, HOOKBOT, JETSTREAM, NATS, NO_DOOR, QUART, STARLETTE, Stage
from benchmarks.flat_out import flat_out
from benchmarks.plan import Plan
from benchmarks.processes import Process
from benchmarks.room import Room
from benchmarks.samples import Cell, Sample, Values
from benchmarks.supply import Supply, plain

ANSWER = "ms, p50 of the answer"
CONTESTANTS = (DURABLE, HOOKBOT, NO_DOOR, QUART, STARLETTE, NATS, JETSTREAM, ANCESTOR, BARE)
REFERENCES = {"publishes/s": QUART, "µs of CPU per publish": QUART, ANSWER: None}
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
            if connections == 1:
                yield Sample(Cell("publish", CASE, 1, DISK), round, {ANSWER: sync_s(stage.directory) * 1e3})


def publishes(process: Process, room: Room, supply: Supply, seconds: float) -> Values:
    """Publish for `seconds`, as fast as all connections allow."""
    run = flat_out(process, room, supply, seconds)
    answer_ms = median(run.published.answered_s) * 1e3
    return {"publishes/s": run.per_s, "µs of CPU per publish": run.cpu_us, ANSWER: answer_ms, **run.load}


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
