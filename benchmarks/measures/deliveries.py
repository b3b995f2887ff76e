"""GitHub's deliveries, as fast as a contestant takes them: signatures verified, routed, and received by a listener."""

from collections.abc import Iterator

from benchmarks.contestants import DURABLE, FORGETS, HOOKBOT, QUART, STARLETTE, Contestant, Stage, hub
from benchmarks.github import MOST_PER_S, TOPIC, deliveries
from benchmarks.plan import Plan
from benchmarks.processes import Meter, Process, settle
from benchmarks.room import Room
from benchmarks.samples import Cell, Sample, Values
from benchmarks.supply import Supply

ROUTERS = (
    Contestant(DURABLE.name, hub("--router", "github")),
    Contestant(HOOKBOT.name, hub(*FORGETS, "--router", "github")),
)
REFERENCES = {"deliveries/s": QUART, "µs of CPU per delivery": QUART}
COUNTED = "connections"
CASE = "2-25 kB, routed to a listener"


def measure(stage: Stage, plan: Plan) -> Iterator[Sample]:
    """Measure the contestants in turns, with as many connections as the plan has at most."""
    connections = plan.connections[-1]
    # The ids of deliveries never repeat, at no hub.
    supplies = {one: deliveries(summaries=one in ROUTERS) for one in (*ROUTERS, QUART, STARLETTE)}
    for round in range(plan.rounds):
        for one in stage.present(supplies):
            process = stage.start(one)
            with (
                Room(process.port, one.protocol, [TOPIC], counts_messages=True) as room,
                room.publishers(connections),
            ):
                values = received(process, room, supplies[one], plan.seconds)
            yield Sample(Cell("deliveries", CASE, connections, one.name), round, values)


def received(process: Process, room: Room, supply: Supply, seconds: float) -> Values:
    """Publish for `seconds`, and wait until the listener has received everything and the contestant is idle."""
    room.publish_for(seconds / 10, supply)
    supply.prepare(seconds, MOST_PER_S)
    meter, refused = Meter(process), room.refused
    published = room.publish_for(seconds, supply)
    wall_s, generator = meter.wall_s, meter.generator
    # What the contestant does later belongs to the cost, such as remembering what was routed.
    settle([process])
    return {
        "deliveries/s": published.messages / wall_s,
        "µs of CPU per delivery": meter.cpu_s / published.messages * 1e6,
        "generator": generator,
        "refused": room.refused - refused,
    }
