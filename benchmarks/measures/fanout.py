"""Deliveries a second, and what one costs: one message at a time to everybody, and several at once."""

from collections.abc import Iterator
from contextlib import ExitStack

from ..contestants import ANCESTOR, BARE, HOOKBOT, NATS, NO_DOOR, QUART, STARLETTE, WEBSOCKETS, Stage
from ..plan import Plan
from ..processes import Meter, Process
from ..room import Room
from ..samples import Cell, Sample

CONTESTANTS = (HOOKBOT, NO_DOOR, QUART, STARLETTE, WEBSOCKETS, NATS, ANCESTOR, BARE)
REFERENCES = {"deliveries/s": QUART, "µs of CPU per delivery": BARE}


def measure(stage: Stage, plan: Plan) -> Iterator[Sample]:
    """Everybody connects once for each number of subscribers; then they take turns."""
    contestants = [one for one in CONTESTANTS if one.installed]
    for subscribers in plan.subscribers:
        with ExitStack() as stack:
            rooms = {
                one: stack.enter_context(Room(stage.start(one).port, one.protocol, "bench/fanout", subscribers))
                for one in contestants
            }
            for round in range(plan.rounds):
                for size in plan.sizes:
                    for case, messages in cases(size, plan):
                        for one in contestants:
                            cell = Cell("fanout", case, subscribers, one.name)
                            yield sample(cell, round, stage.start(one), rooms[one], size, messages, plan.seconds)
        stage.settle()


def cases(size: int, plan: Plan) -> list[tuple[str, int]]:
    """What is measured of one size of message, and how many of them are on the way at once."""
    return [(f"{size} B, one at a time", 1), (f"{size} B, {plan.burst} at once", plan.burst)]


def sample(cell: Cell, round: int, process: Process, room: Room, size: int, messages: int, seconds: float) -> Sample:
    """Publish for so long, each time when everybody has received what was published before."""
    body = bytes(size)
    refused = room.refused
    with room.publishers(messages):
        room.deliver(body, 1)
        meter = Meter(process)
        published = 0
        while meter.wall_s < seconds:
            room.deliver(body, messages)
            published += messages
        wall_s, cpu_s, generator = meter.wall_s, meter.cpu_s, meter.generator
    deliveries = published * cell.n
    return Sample(
        cell,
        round,
        {
            "deliveries/s": deliveries / wall_s,
            "µs of CPU per delivery": cpu_s / deliveries * 1e6,
            "generator": generator,
            "refused": room.refused - refused,
        },
    )
