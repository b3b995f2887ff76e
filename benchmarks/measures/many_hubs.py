"""Two hubs with one log in PostgreSQL, beside one hub there and one on SQLite; and how far one is behind the other.

PostgreSQL runs on the same disk as the log of SQLite, and syncs each commit as well.
"""

import http.client
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from benchmarks.connecting import PATIENCE_S
from benchmarks.contestants import DURABLE, Contestant, Stage, hub
from benchmarks.flat_out import percentiles
from benchmarks.following import lags
from benchmarks.measures.fanout import cases, deliveries
from benchmarks.measures.publish import ANSWER, publishes
from benchmarks.plan import Plan
from benchmarks.postgres import missing, running_postgres
from benchmarks.processes import Process, Together
from benchmarks.room import Room
from benchmarks.samples import Cell, Sample, Values
from benchmarks.supply import plain

# Each is started with the address of its log.
ONE = Contestant("hookbot, PostgreSQL", hub())
TWO = Contestant("hookbot, two on PostgreSQL", hub())
REFERENCES = {
    "publishes/s": ONE,
    "µs of CPU per publish": ONE,
    ANSWER: ONE,
    "deliveries/s": ONE,
    "µs of CPU per delivery": ONE,
    "ms, p50": None,
    "ms, p99": None,
}
COUNTED = ""
PUBLISHING = "publishing 1 KB: so many connections"
FOLLOWING = "from the answer to a listener of the other hub: so many messages/s"
TOPIC = "bench/hubs"
SIZE = 1000
# The fan-out is that of small messages.
SMALL = 200
RATES = (20, 500)
LONGER = 5

Hubs = Mapping[Contestant, Sequence[Process]]


def measure(stage: Stage, plan: Plan) -> Iterator[Sample]:
    """Measure the three in turns. Without PostgreSQL, say so, and measure nothing."""
    if what := missing():
        print(f"many_hubs is left out: {what} is not installed", file=sys.stderr, flush=True)
        return
    with running(stage) as hubs:
        for round in range(plan.rounds):
            for n in plan.connections:
                for one, processes in hubs.items():
                    yield Sample(Cell("many_hubs", PUBLISHING, n, one.name), round, publishing(processes, n, plan))
            for rate in RATES:
                values = following(hubs[TWO], rate, plan.seconds * LONGER)
                yield Sample(Cell("many_hubs", FOLLOWING, rate, TWO.name), round, values)
        yield from fanning_out(hubs, plan)
    stage.settle()


@contextmanager
def running(stage: Stage) -> Iterator[Hubs]:
    """The hubs, ready to take a publish."""
    with ExitStack() as stack:
        url = stack.enter_context(running_postgres(stage.directory.parent))
        hubs = {}
        for one, schema, count in ((DURABLE, "", 1), (ONE, "one", 1), (TWO, "two", 2)):
            started = replace(one, command=hub("--store", f"{url}&schema={schema}")) if schema else one
            hubs[one] = [stack.enter_context(stage.fresh(started)) for _ in range(count)]
            for process in hubs[one]:
                wait_until_ready(process)
        yield hubs


def wait_until_ready(process: Process) -> None:
    """Wait until a hub, which answers before, has its log."""
    deadline, ready = time.monotonic() + PATIENCE_S, False
    while not ready:
        if time.monotonic() > deadline:
            raise RuntimeError("a hub cannot open its log in PostgreSQL")
        connection = http.client.HTTPConnection("127.0.0.1", process.port, timeout=PATIENCE_S)
        connection.request("GET", "/readyz")
        ready = connection.getresponse().status == http.HTTPStatus.OK
        connection.close()


def publishing(hubs: Sequence[Process], connections: int, plan: Plan) -> Values:
    """Publish as fast as all connections allow, which are spread over the hubs."""
    ports = [process.port for process in hubs]
    with Room(ports[0], DURABLE.protocol, [], publish_at=ports) as room, room.publishers(connections):
        supply = plain(DURABLE.protocol, [TOPIC], SIZE)
        return publishes(Together.of(hubs), room, supply, plan.seconds)


def fanning_out(hubs: Hubs, plan: Plan) -> Iterator[Sample]:
    """Deliver to subscribers that are spread over the hubs, while all is published at the first one."""
    subscribers = plan.subscribers[-1]
    with ExitStack() as stack:
        rooms = {}
        for one, processes in hubs.items():
            ports = [process.port for process in processes]
            room = Room(ports[0], DURABLE.protocol, [TOPIC] * subscribers, subscribe_at=ports)
            rooms[one] = stack.enter_context(room)
        supply = plain(DURABLE.protocol, [TOPIC], SMALL)
        for round in range(plan.rounds):
            for case, messages in cases(SMALL, plan):
                for one, room in rooms.items():
                    process = Together.of(hubs[one])
                    values = deliveries(process, room, supply, subscribers, messages, plan.seconds)
                    yield Sample(
                        Cell("many_hubs", f"{case}: so many subscribers", subscribers, one.name), round, values
                    )


def following(hubs: Sequence[Process], rate: int, seconds: float) -> Values:
    """From the answers of one hub to the arrivals at a listener of the other one."""
    behind_s = lags(hubs[0].port, hubs[1].port, DURABLE.protocol, TOPIC, rate=rate, seconds=seconds)
    return percentiles(behind_s)
