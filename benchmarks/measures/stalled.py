"""Deliveries per second while some subscribers are stalled; afterwards, these receive everything they missed."""

from collections.abc import Iterator

from benchmarks.contestants import HOOKBOT, Stage
from benchmarks.measures.fanout import deliveries
from benchmarks.plan import Plan
from benchmarks.room import Room
from benchmarks.samples import Cell, Sample
from benchmarks.supply import plain

REFERENCES = {"deliveries/s": None, "µs of CPU per delivery": None}
COUNTED = "subscribers"
SIZE = 200
HEALTHY, STALLED = "bench/healthy", "bench/stalled"
# Together more than the buffers of a socket hold (net.ipv4.tcp_wmem), so that the hub cannot send any more.
FILLING_BYTES = 100_000
FILLINGS = 100


def measure(stage: Stage, plan: Plan) -> Iterator[Sample]:
    """Measure two rooms with the same number of subscribers in turns; in one of them, 5 % are stalled."""
    subscribers = plan.subscribers[-1]
    stalled = max(1, subscribers // 20)
    process = stage.start(HOOKBOT)
    with (
        Room(process.port, HOOKBOT.protocol, [HEALTHY] * subscribers) as healthy,
        Room(process.port, HOOKBOT.protocol, [STALLED] * stalled) as partly,
    ):
        partly.stall()
        filling = plain(HOOKBOT.protocol, [STALLED], FILLING_BYTES)
        with partly.publishers(1):
            for _ in range(FILLINGS):
                partly.deliver(filling, 1)
        partly.join([STALLED] * (subscribers - stalled))
        for round in range(plan.rounds):
            for case, topic, room, taking in (
                ("none stalled", HEALTHY, healthy, subscribers),
                ("5 % stalled", STALLED, partly, subscribers - stalled),
            ):
                supply = plain(HOOKBOT.protocol, [topic], SIZE)
                values = deliveries(process, room, supply, taking, plan.burst, plan.seconds)
                yield Sample(Cell("stalled", case, subscribers, HOOKBOT.name), round, values)
        partly.revive()
    stage.settle()
