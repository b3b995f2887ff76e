"""GitHub's deliveries, as fast as a contestant takes them: signatures verified, routed, and received by a listener."""

from collections.abc import Iterator

from benchmarks.contestants import DURABLE, FORGETS, HOOKBOT, QUART, STARLETTE, Contestant, Stage, hub
from benchmarks.flat_out import flat_out, percentiles
from benchmarks.github import MOST_PER_S, TOPIC, deliveries
from benchmarks.plan import Plan
from benchmarks.room import Room
from benchmarks.samples import Cell, Sample

ROUTERS = (
    Contestant(DURABLE.name, hub("--router", "github")),
    Contestant(HOOKBOT.name, hub(*FORGETS, "--router", "github")),
)
REFERENCES = {"deliveries/s": QUART, "µs of CPU per delivery": QUART, "ms, p50": QUART, "ms, p99": QUART}
COUNTED = "connections"
CASE = "2-25 kB, routed to a listener"
RATE = 100
ANSWERS = f"{RATE} a second: the answers"
# There are a dozen kinds of payloads, and fewer are taken in a second than of other publishes.
LONGER = 3


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
                run = flat_out(process, room, supplies[one], plan.seconds * LONGER, most_per_s=MOST_PER_S)
                values = {"deliveries/s": run.per_s, "µs of CPU per delivery": run.cpu_us, **run.load}
                published = room.pace(RATE, plan.seconds * LONGER, supplies[one])
            yield Sample(Cell("deliveries", CASE, connections, one.name), round, values)
            yield Sample(Cell("deliveries", ANSWERS, connections, one.name), round, percentiles(published.answered_s))
