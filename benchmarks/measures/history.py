"""Resuming from a long log: time to the first message, throughput, and the effect on publishers."""

import socket
import time
from collections.abc import Iterator
from statistics import median

from benchmarks.connecting import PATIENCE_S, Lost
from benchmarks.contestants import Contestant, Stage, hub
from benchmarks.plan import Plan
from benchmarks.processes import Meter, Process, settle
from benchmarks.protocols import frame_size
from benchmarks.room import Room
from benchmarks.samples import Cell, Sample, Values
from benchmarks.stored import fill
from benchmarks.supply import plain

KEEPS = Contestant("hookbot, durable", hub("--keep-bytes", "16GiB"))
REFERENCES = {
    "ms to the first message": None,
    "messages/s": None,
    "publishes/s": None,
    "MiB": None,
}
COUNTED = ""
CATCHING_UP = "catching up: one reader"
PUBLISHING = "publishing: so many readers"
BEHIND = "behind: a subscriber who takes nothing of so many"
TOPIC = "bench/history"
BODY = bytes(1000)
FRAME = frame_size(len(BODY))
PUBLISHERS = 64
PUBLISHING_S = 0.1
# Enough for the average to be independent of single allocations.
STALLED = 10


def measure(stage: Stage, plan: Plan) -> Iterator[Sample]:
    """Measure a hub with a long log, and for comparison one whose log holds a single message."""
    long, short = stage.directory / "long", stage.directory / "short"
    ids = fill(long, plan.history, TOPIC, BODY)
    fill(short, 1, TOPIC, BODY)
    with stage.fresh(KEEPS, long) as process, stage.fresh(KEEPS, short) as other:
        for round in range(plan.rounds):
            for n, one, since in ((1, other, "all"), (plan.history, process, ids[int(plan.history * 0.99)])):
                taken = median(first_message_s(one, since) for _ in range(plan.resumes))
                yield _sample("resume: log of so many messages", n, round, {"ms to the first message": taken * 1e3})
            yield _sample(CATCHING_UP, 1, round, catching_up(process, plan))
            for readers in (0, 2):
                yield _sample(PUBLISHING, readers, round, publishing(process, readers, plan))
        yield _sample(BEHIND, plan.history, 0, {"MiB": behind_bytes(process) / (1 << 20)})
        if plan.resuming:
            yield _sample("resuming at once", plan.resuming, 0, resuming(process, plan, ids[-plan.behind]))


def first_message_s(process: Process, since: str) -> float:
    """Seconds from connecting to the end of the first message."""
    start = time.perf_counter()
    [(hello, end)] = KEEPS.protocol.subscribing(TOPIC, f"?since={since}")
    with socket.create_connection(("127.0.0.1", process.port), timeout=PATIENCE_S) as sock:
        sock.sendall(hello)
        received = b""
        while len(received.partition(end)[2]) < FRAME:
            data = sock.recv(1 << 16)
            if not data:
                raise Lost(f"the hub refused to resume: {received[:200]!r}")
            received += data
        return time.perf_counter() - start


def catching_up(process: Process, plan: Plan) -> Values:
    """Throughput of one reader of the whole log."""
    meter = Meter(process)
    with Room(process.port, KEEPS.protocol, [TOPIC], query="?since=all") as room:
        room.catch_up(plan.history * FRAME)
        return {"messages/s": plan.history / meter.wall_s, "generator": meter.generator}


def publishing(process: Process, readers: int, plan: Plan) -> Values:
    """Throughput of publishing to another topic, while some readers read the whole log."""
    supply = plain(KEEPS.protocol, ["bench/other"], len(BODY))
    supply.prepare(plan.seconds)
    with (
        Room(process.port, KEEPS.protocol, [TOPIC] * readers, query="?since=all") as room,
        room.publishers(PUBLISHERS),
    ):
        meter, before = Meter(process), room.received
        published = room.publish_for(plan.seconds, supply).messages
        wall_s, generator = meter.wall_s, meter.generator
        values = {"publishes/s": published / wall_s, "generator": generator, "refused": room.refused}
        return {**values, "messages/s": (room.received - before) / FRAME / wall_s} if readers else values


def behind_bytes(process: Process) -> float:
    """Memory that the hub uses for one stalled subscriber of the whole log.

    The average over several, not counting a first one, for which buffers are allocated that all share.
    """
    with Room(process.port, KEEPS.protocol, [TOPIC], query="?since=all"):
        settle([process])
        before = process.rss_bytes
        with Room(process.port, KEEPS.protocol, [TOPIC] * STALLED, query="?since=all"):
            settle([process])
            return (process.rss_bytes - before) / STALLED


def resuming(process: Process, plan: Plan, since: str) -> Values:
    """Throughput of many subscribers that resume from the same position while messages are published."""
    missed, published = plan.behind - 1, 0
    supply = plain(KEEPS.protocol, [TOPIC], len(BODY))
    meter, deadline = Meter(process), time.monotonic() + PATIENCE_S
    with (
        Room(process.port, KEEPS.protocol, [TOPIC] * plan.resuming, query=f"?since={since}") as room,
        room.publishers(1),
    ):
        while room.received < missed * FRAME * plan.resuming and time.monotonic() < deadline:
            published += room.publish_for(PUBLISHING_S, supply).messages
        wall_s = meter.wall_s
        room.catch_up(missed * FRAME)
        return {
            "messages/s": missed * plan.resuming / wall_s,
            "publishes/s": published / wall_s,
            "generator": meter.generator,
            "refused": room.refused,
        }


def _sample(case: str, n: int, round: int, values: Values) -> Sample:
    return Sample(Cell("history", case, n, KEEPS.name), round, values)
