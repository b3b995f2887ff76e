"""From the start of a process to the first accepted publish, beside the start of an interpreter with the libraries."""

import compileall
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import hookbot
from benchmarks.contestants import DURABLE, HOOKBOT, JETSTREAM, NATS, QUART, STARLETTE, Contestant, Stage
from benchmarks.measures.history import KEEPS
from benchmarks.plan import Plan
from benchmarks.room import Room
from benchmarks.samples import Cell, Sample, Values
from benchmarks.stored import fill
from benchmarks.supply import plain

CONTESTANTS = (DURABLE, HOOKBOT, QUART, STARLETTE, NATS, JETSTREAM)
IMPORTS = ("-c", "import trio, quart_trio, hypercorn")
IMPORTING = "only the imports"
REFERENCES = {"ms": None, "ms of CPU": None}
COUNTED = "stored messages"
CASE = "to the first accepted publish"
TOPIC = "bench/start"
SIZE = 1000


def measure(stage: Stage, plan: Plan) -> Iterator[Sample]:
    """Start the contestants in turns, the hub also with a long log."""
    # As pip does when it installs a package; a checkout may not be compiled, or not as it is now.
    compileall.compile_dir(Path(hookbot.__file__).parent, quiet=1)
    long = stage.directory / "start"
    fill(long, plan.history, TOPIC, bytes(SIZE))
    for round in range(plan.rounds):
        for one in stage.present(CONTESTANTS):
            yield _sample(one.name, 0, round, until_accepted(stage, one))
        yield _sample(DURABLE.name, plan.history, round, until_accepted(stage, KEEPS, long))
        yield _sample(IMPORTING, 0, round, importing())


def until_accepted(stage: Stage, one: Contestant, directory: Path | None = None) -> Values:
    """Time that a new process needs for its first accepted publish."""
    start = time.perf_counter()
    with (
        stage.fresh(one, directory) as process,
        Room(process.port, one.protocol, []) as room,
        room.publishers(1),
    ):
        room.deliver(plain(one.protocol, [TOPIC], SIZE), 1)
        return {
            "ms": (time.perf_counter() - start) * 1e3,
            "ms of CPU": process.cpu_s * 1e3,
            "refused": room.refused,
        }


def importing() -> Values:
    """Time that an interpreter needs to import the libraries that a hub is made with."""
    start = time.perf_counter()
    pid = os.posix_spawn(sys.executable, [sys.executable, *IMPORTS], os.environ)
    _, _, usage = os.wait4(pid, 0)
    return {"ms": (time.perf_counter() - start) * 1e3, "ms of CPU": (usage.ru_utime + usage.ru_stime) * 1e3}


def _sample(name: str, stored: int, round: int, values: Values) -> Sample:
    return Sample(Cell("start", CASE, stored, name), round, values)
