"""Latency from publishing to receiving, at half of each contestant's capacity and at low load."""

from collections.abc import Iterator
from contextlib import ExitStack
from statistics import quantiles

from benchmarks.contestants import ANCESTOR, BARE, HOOKBOT, NATS, NO_DOOR, QUART, STARLETTE, WEBSOCKETS, Stage
from benchmarks.measures.fanout import deliveries
from benchmarks.plan import Plan
from benchmarks.room import Room
from benchmarks.samples import Cell, Sample, Values
from benchmarks.supply import Supply, plain

CONTESTANTS = (HOOKBOT, NO_DOOR, QUART, STARLETTE, WEBSOCKETS, NATS, ANCESTOR, BARE)
REFERENCES = {"ms, p50": QUART, "ms, p99": QUART, "messages/s": None}
COUNTED = "subscribers"
SIZE = 200
TOPIC = "bench/latency"
# Messages per second that no contestant has trouble with.
LITTLE = 20


def measure(stage: Stage, plan: Plan) -> Iterator[Sample]:
    """Measure the capacity of each contestant, then publish half of that on a schedule."""
    subscribers = plan.listeners
    with ExitStack() as stack:
        rooms = {
            one: stack.enter_context(Room(stage.start(one).port, one.protocol, [TOPIC] * subscribers))
            for one in stage.present(CONTESTANTS)
        }
        for round in range(plan.rounds):
            for one, room in rooms.items():
                supply = plain(one.protocol, [TOPIC], SIZE)
                most = deliveries(stage.start(one), room, supply, subscribers, plan.burst, plan.seconds)
                half = most.get("deliveries/s", 0) / subscribers / 2
                for case, rate in (("at half of saturation", half), (f"{LITTLE} messages/s", LITTLE)):
                    values = delays(room, supply, rate, plan) if rate else most
                    yield Sample(Cell("latency", f"{SIZE} B, {case}", subscribers, one.name), round, values)
    stage.settle()


def delays(room: Room, supply: Supply, rate: float, plan: Plan) -> Values:
    """Latency at a rate of messages per second."""
    with room.publishers(plan.burst):
        cuts = quantiles(room.pace(rate, plan.seconds, supply).delivered_s, n=100, method="inclusive")
    return {"ms, p50": cuts[49] * 1e3, "ms, p99": cuts[98] * 1e3, "messages/s": rate}
