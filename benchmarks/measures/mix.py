"""A day of a hub in a few seconds, at a fixed rate: what a publish costs, and how late it comes.

Many small topics with a subscriber each, large messages to many subscribers, some of them slow and some stalled, others
that catch up, a cursor, and a group.
"""

from collections import Counter
from collections.abc import Iterator

from benchmarks.background import JOBS, LARGE, PAST, background
from benchmarks.contestants import DURABLE, HOOKBOT, Contestant, Stage
from benchmarks.flat_out import percentiles
from benchmarks.plan import Plan
from benchmarks.processes import Meter, Process, settle
from benchmarks.room import Room
from benchmarks.samples import Cell, Sample, Values
from benchmarks.supply import Request, Supply, maker, plain

CONTESTANTS = (HOOKBOT, DURABLE)
REFERENCES = {"ms, p50": None, "ms, p99": None, "µs of CPU per publish": None}
COUNTED = "publishes per second"
RATE = 500
# Of so many publishes in a row, one is large and three are jobs; the others go to the small topics.
TURN, JOBS_IN_TURN = 20, 3
PUBLISHERS = 16
STALLED = 5
LONGER = 10


def measure(stage: Stage, plan: Plan) -> Iterator[Sample]:
    """Measure the contestants one after the other."""
    small = [f"bench/small/{number}" for number in range(5 * plan.listeners)]
    for one in stage.present(CONTESTANTS):
        with stage.fresh(one) as process, Room(process.port, one.protocol, [LARGE] * STALLED) as room:
            past_bytes = remember(process, one, plan.behind)
            room.stall()
            room.join([*small, *[LARGE] * plan.listeners])
            for round in range(plan.rounds):
                values = mixed(process, one, room, small, past_bytes, plan.seconds * LONGER)
                yield Sample(Cell("mix", "everything at once", RATE, one.name), round, values)
            room.revive()


def remember(process: Process, one: Contestant, messages: int) -> int:
    """Publish as many messages to catch up with, and return their size."""
    supply, published = plain(one.protocol, [PAST], 1000), 0
    with Room(process.port, one.protocol, [PAST]) as room, room.publishers(64):
        while published < messages:
            published += room.publish_for(0.1, supply).messages
        return room.received


def mixed(process: Process, one: Contestant, room: Room, small: list[str], past_bytes: int, seconds: float) -> Values:
    """Publish at the fixed rate until all listeners have received everything."""
    sent: Counter[str] = Counter()
    makers = {
        "small": maker(one.protocol, small, 200),
        "job": maker(one.protocol, [JOBS], 1000),
        "large": maker(one.protocol, [LARGE], 10_000),
    }

    def make(number: int) -> Request:
        place = number % TURN
        kind = "large" if place == 0 else "job" if place <= JOBS_IN_TURN else "small"
        request = makers[kind](number)
        sent[kind] += 1 if kind == "job" else request.units
        return request

    refused = room.refused
    with room.publishers(PUBLISHERS), background(process.port, past_bytes) as others:
        meter = Meter(process)
        published = room.pace(RATE, seconds, Supply(make))
        generator = meter.generator
        others.finish(sent["job"], sent["large"])
        settle([process])
        cpu_s = meter.cpu_s
    return {
        **percentiles(published.delivered_s),
        "µs of CPU per publish": cpu_s / published.messages * 1e6,
        "generator": generator,
        "refused": room.refused - refused,
    }
