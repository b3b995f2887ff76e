"""Deliveries per second and their CPU cost: one message at a time to all subscribers, and several at once."""

from collections.abc import Iterator

from benchmarks.connecting import Lost
from benchmarks.contestants import (
    ANCESTOR,
    BARE,
    DURABLE,
    HOOKBOT,
    JETSTREAM,
    NATS,
    QUART,
    STARLETTE,
    WEBSOCKETS,
    Stage,
)
from benchmarks.plan import Plan
from benchmarks.processes import Meter, Process
from benchmarks.room import Room
from benchmarks.rooms import rooms
from benchmarks.samples import Cell, Sample, Values
from benchmarks.supply import Supply, plain

CONTESTANTS = (HOOKBOT, DURABLE, QUART, STARLETTE, WEBSOCKETS, NATS, JETSTREAM, ANCESTOR, BARE)
REFERENCES = {"deliveries/s": QUART, "µs of CPU per delivery": BARE}
COUNTED = "subscribers"
TOPIC = "bench/fanout"


def measure(stage: Stage, plan: Plan) -> Iterator[Sample]:
    """For each number of subscribers, connect them to all contestants, then measure the contestants in turns."""
    for subscribers in plan.subscribers:
        with rooms(stage, CONTESTANTS, [TOPIC] * subscribers) as all_rooms:
            supplies = {(one, size): plain(one.protocol, [TOPIC], size) for one in all_rooms for size in plan.sizes}
            for round in range(plan.rounds):
                for size in plan.sizes:
                    for case, messages in cases(size, plan):
                        for one, room in all_rooms.items():
                            supply = supplies[one, size]
                            values = deliveries(stage.start(one), room, supply, subscribers, messages, plan.seconds)
                            yield Sample(Cell("fanout", case, subscribers, one.name), round, values)
        stage.settle()


def cases(size: int, plan: Plan) -> list[tuple[str, int]]:
    """Cases for one size of message, each with the number of messages in flight."""
    return [(f"{size} B, one at a time", 1), (f"{size} B, {plan.burst} at once", plan.burst)]


def deliveries(process: Process, room: Room, supply: Supply, subscribers: int, messages: int, seconds: float) -> Values:
    """Publish repeatedly for `seconds`, each time after all subscribers have received the previous messages."""
    refused = room.refused
    try:
        with room.publishers(messages):
            # A first message to warm up, and to make sure that all are subscribed.
            room.deliver(supply, 1)
            supply.prepare(seconds)
            meter = Meter(process)
            published = 0
            while meter.wall_s < seconds:
                room.deliver(supply, messages)
                published += messages
            wall_s, cpu_s, generator = meter.wall_s, meter.cpu_s, meter.generator
    except Lost as lost:
        return {"lost": lost.count, "refused": room.refused - refused}
    delivered = (published - (room.refused - refused)) * subscribers
    return {
        "deliveries/s": delivered / wall_s,
        "µs of CPU per delivery": cpu_s / max(delivered, 1) * 1e6,
        "generator": generator,
        "refused": room.refused - refused,
    }
