"""From publishing to receiving, with half of the messages a second that each contestant can take at most."""

from collections.abc import Iterator
from contextlib import ExitStack
from statistics import quantiles

from ..contestants import ANCESTOR, BARE, HOOKBOT, NATS, NO_DOOR, QUART, STARLETTE, WEBSOCKETS, Stage
from ..plan import Plan
from ..room import Room
from ..samples import Cell, Sample
from .fanout import deliveries

CONTESTANTS = (HOOKBOT, NO_DOOR, QUART, STARLETTE, WEBSOCKETS, NATS, ANCESTOR, BARE)
REFERENCES = {"ms, p50": QUART, "ms, p99": QUART, "messages/s": None}
SIZE = 200


def measure(stage: Stage, plan: Plan) -> Iterator[Sample]:
    """First find out how much each can take, then ask for half of that, on a timetable."""
    subscribers = plan.listeners
    with ExitStack() as stack:
        rooms = {
            one: stack.enter_context(Room(stage.start(one).port, one.protocol, "bench/latency", subscribers))
            for one in CONTESTANTS
            if one.installed
        }
        for round in range(plan.rounds):
            for one, room in rooms.items():
                most = deliveries(stage.start(one), room, subscribers, SIZE, plan.burst, plan.seconds)
                rate = most["deliveries/s"] / subscribers / 2
                with room.publishers(plan.burst):
                    delays = room.pace(rate, plan.seconds, SIZE)
                cuts = quantiles(delays, n=100, method="inclusive")
                values = {"ms, p50": cuts[49] * 1e3, "ms, p99": cuts[98] * 1e3, "messages/s": rate}
                yield Sample(Cell("latency", f"{SIZE} B, at half of saturation", subscribers, one.name), round, values)
    stage.settle()
