"""Delay of large messages to many subscribers while publishers go flat out, in a short run and in a long one."""

from collections.abc import Iterator

from benchmarks.contestants import DURABLE, HOOKBOT, NATS, Stage
from benchmarks.flat_out import flat_out
from benchmarks.plan import Plan
from benchmarks.rooms import rooms
from benchmarks.samples import Cell, Sample
from benchmarks.supply import plain

# The others have no bound: what they accept waits in memory for minutes.
CONTESTANTS = (HOOKBOT, DURABLE, NATS)
REFERENCES = {"deliveries/s": None, "ms, p50": None, "ms, p99": None, "µs of CPU per delivery": None}
COUNTED = "subscribers"
TOPIC = "bench/fair"
SIZE = 10_000
PUBLISHERS = 8
MOST_PER_S = 1000
# A delay that grows with the length of a run is seen in the ratio of the two.
SHORT, LONG = "short", "five times as long"
LENGTHS = {SHORT: 2, LONG: 10}


def measure(stage: Stage, plan: Plan) -> Iterator[Sample]:
    """Connect the subscribers to all contestants, then measure the contestants in turns."""
    subscribers = plan.subscribers[-1]
    with rooms(stage, CONTESTANTS, [TOPIC] * subscribers) as all_rooms:
        for round in range(plan.rounds):
            for case, times in LENGTHS.items():
                for one, room in all_rooms.items():
                    supply = plain(one.protocol, [TOPIC], SIZE)
                    with room.publishers(PUBLISHERS):
                        run = flat_out(
                            stage.start(one), room, supply, plan.seconds * times, sampled=True, most_per_s=MOST_PER_S
                        )
                    values = {
                        "deliveries/s": run.per_s * subscribers,
                        **run.latencies(),
                        "µs of CPU per delivery": run.cpu_us / subscribers,
                        **run.load,
                    }
                    yield Sample(Cell("fair", case, subscribers, one.name), round, values)
    stage.settle()
