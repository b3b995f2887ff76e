"""Publishes spread over many topics with a subscriber each, beside as many as there are publishers, and one."""

from collections.abc import Iterator
from contextlib import ExitStack

from benchmarks.contestants import DURABLE, HOOKBOT, NATS, Contestant, Stage
from benchmarks.flat_out import flat_out
from benchmarks.plan import Plan
from benchmarks.processes import Process
from benchmarks.room import Room
from benchmarks.samples import Cell, Sample, Values
from benchmarks.supply import plain

CONTESTANTS = (HOOKBOT, DURABLE, NATS)
REFERENCES = {"µs of CPU per publish": None, "publishes/s": None, "ms, p50": None, "ms, p99": None}
COUNTED = "topics"
# A delay that grows as the run goes on is seen in the last part of a long one.
LONGER, LAST = 10, 0.2
FLAT_OUT, AT_THE_END = "flat out", f"{LONGER} times as long, latency in the last fifth"
SIZE = 200
PUBLISHERS = 16


def measure(stage: Stage, plan: Plan) -> Iterator[Sample]:
    """For each contestant, since files for all subscribers at once would be too many, measure its topics in turns."""
    for one in stage.present(CONTESTANTS):
        process = stage.start(one)
        with ExitStack() as stack:
            rooms = {
                count: stack.enter_context(Room(process.port, one.protocol, topics(count)))
                for count in (1, PUBLISHERS, plan.many_topics)
            }
            for count, room in rooms.items():
                visit(one, room, count)
            for round in range(plan.rounds):
                for count, room in rooms.items():
                    values = spread(process, one, room, count, plan.seconds)
                    yield Sample(Cell("many_topics", FLAT_OUT, count, one.name), round, values)
            values = spread(process, one, rooms[plan.many_topics], plan.many_topics, plan.seconds * LONGER, last=LAST)
            yield Sample(Cell("many_topics", AT_THE_END, plan.many_topics, one.name), 0, values)
        stage.settle()


def visit(one: Contestant, room: Room, count: int) -> None:
    """Publish to each of the topics once. A hub verifies the token of a topic the first time."""
    supply = plain(one.protocol, topics(count), SIZE)
    with room.publishers(PUBLISHERS):
        for _ in range(0, count, PUBLISHERS):
            room.deliver(supply, min(PUBLISHERS, count))


def topics(count: int) -> list[str]:
    """As many topics, different from those of another number."""
    return [f"bench/of-{count}/{number}" for number in range(count)]


def spread(process: Process, one: Contestant, room: Room, count: int, seconds: float, *, last: float = 1.0) -> Values:
    """Publish to the topics in turn, as fast as all publishers can; latencies are those of the `last` part."""
    with room.publishers(PUBLISHERS):
        run = flat_out(process, room, plain(one.protocol, topics(count), SIZE), seconds, sampled=True)
    return {"µs of CPU per publish": run.cpu_us, "publishes/s": run.per_s, **run.latencies(last), **run.load}
