"""Deliveries per second while some subscribers are stalled; afterwards, these receive everything they missed."""

from collections.abc import Iterator

from benchmarks.contestants import HOOKBOT, Stage
from benchmarks.measures.fanout import deliveries
from benchmarks.plan import Plan
from benchmarks.room import Room
from benchmarks.samples import Cell, Sample

REFERENCES = {"deliveries/s": None, "µs of CPU per delivery": None}
COUNTED = "subscribers"
SIZE = 200
# Together more than the buffers of a socket hold (net.ipv4.tcp_wmem), so that the hub cannot send any more.
FILLING = bytes(100_000)
FILLINGS = 100


def measure(stage: Stage, plan: Plan) -> Iterator[Sample]:
    """Measure two rooms with the same number of subscribers in turns; in one of them, 5 % are stalled."""
    subscribers = plan.subscribers[-1]
    stalled = max(1, subscribers // 20)
    process = stage.start(HOOKBOT)
    with (
        Room(process.port, HOOKBOT.protocol, "bench/healthy", subscribers) as healthy,
        Room(process.port, HOOKBOT.protocol, "bench/stalled", stalled) as partly,
    ):
        partly.stall()
        with partly.publishers(1):
            for _ in range(FILLINGS):
                partly.deliver(FILLING, 1)
        partly.join(subscribers - stalled)
        for round in range(plan.rounds):
            for case, room, taking in (
                ("none stalled", healthy, subscribers),
                ("5 % stalled", partly, subscribers - stalled),
            ):
                values = deliveries(process, room, taking, SIZE, plan.burst, plan.seconds)
                yield Sample(Cell("stalled", case, subscribers, HOOKBOT.name), round, values)
        partly.revive()
    stage.settle()
