"""Latency from publishing to receiving, at half of each contestant's capacity and at fixed rates."""

from collections.abc import Iterator

from benchmarks.contestants import QUART, Stage
from benchmarks.flat_out import percentiles
from benchmarks.measures.fanout import CONTESTANTS, deliveries
from benchmarks.plan import Plan
from benchmarks.room import Room
from benchmarks.rooms import rooms
from benchmarks.samples import Cell, Sample, Values
from benchmarks.supply import Supply, plain

REFERENCES = {"ms, p50": QUART, "ms, p99": QUART, "messages/s": None}
COUNTED = "subscribers"
SIZE = 200
TOPIC = "bench/latency"
# Fixed rates, in messages per second, measured where they are less than half of what a contestant delivers.
RATES = (20, 200)


def measure(stage: Stage, plan: Plan) -> Iterator[Sample]:
    """Measure the capacity of each contestant, then publish half of that on a schedule."""
    subscribers = plan.listeners
    with rooms(stage, CONTESTANTS, [TOPIC] * subscribers) as all_rooms:
        for round in range(plan.rounds):
            for one, room in all_rooms.items():
                supply = plain(one.protocol, [TOPIC], SIZE)
                most = deliveries(stage.start(one), room, supply, subscribers, plan.burst, plan.seconds)
                half = most.get("deliveries/s", 0) / subscribers / 2
                fixed = [(f"{rate} messages/s", rate) for rate in RATES if rate <= half]
                for case, rate in (("at half of saturation", half), *fixed):
                    values = delays(room, supply, rate, plan) if rate else most
                    yield Sample(Cell("latency", f"{SIZE} B, {case}", subscribers, one.name), round, values)
    stage.settle()


def delays(room: Room, supply: Supply, rate: float, plan: Plan) -> Values:
    """Latency at a rate of messages per second."""
    with room.publishers(plan.burst):
        published = room.pace(rate, plan.seconds, supply)
    return {**percentiles(published.delivered_s), "messages/s": rate}
