"""Performance targets of hookbot, most of them as ratios within one run."""

from dataclasses import dataclass

from benchmarks.contestants import BARE, DURABLE, HOOKBOT, NATS, QUART, STARLETTE, WEBSOCKETS, Contestant
from benchmarks.measures import deliveries, fair, many_hubs, many_topics, publish
from benchmarks.measures.history import BEHIND, CATCHING_UP, PUBLISHING
from benchmarks.measures.start import CASE as STARTING
from benchmarks.measures.start import IMPORTING
from benchmarks.plan import Plan
from benchmarks.samples import Cell, Samples, Spread


@dataclass(frozen=True)
class Target:
    """A bound for a quantity of one cell, or for its ratio to the same quantity of a reference."""

    name: str
    cell: Cell
    quantity: str
    reference: Cell | None
    at_least: float | None = None
    at_most: float | None = None

    def reached(self, samples: Samples) -> Spread | None:
        """Measured values or ratios, or None if the cells were not measured."""
        if self.reference is None:
            return samples.spread(self.cell, self.quantity)
        return samples.ratio(self.cell, self.reference, self.quantity)

    def holds(self, value: float) -> bool:
        """True if the value is within the bound."""
        return (self.at_least is None or value >= self.at_least) and (self.at_most is None or value <= self.at_most)


def targets(plan: Plan) -> list[Target]:
    """All targets, whether they were measured or not."""
    return [
        *_receiving(plan),
        *_fanout(plan),
        *_many(plan),
        *_secure(plan),
        *_history(plan),
        *_hubs(),
        *_connecting(plan),
    ]


def _receiving(plan: Plan) -> list[Target]:
    connections = plan.connections[-1]
    found = []
    for one, cost, rate in ((DURABLE, 0.15, 20), (HOOKBOT, 0.08, 40)):
        delivery = Cell("deliveries", deliveries.CASE, connections, one.name)
        published = Cell("publish", publish.CASE, connections, one.name)
        found += [
            Target(
                f"CPU per delivery from GitHub, {one.name} / Quart-Trio",
                delivery,
                "µs of CPU per delivery",
                delivery._replace(contestant=QUART.name),
                at_most=cost,
            ),
            Target(
                f"publishes/s, {connections} connections, {one.name} / Quart-Trio",
                published,
                "publishes/s",
                published._replace(contestant=QUART.name),
                at_least=rate,
            ),
        ]
    answer = Cell("publish", publish.CASE, 1, DURABLE.name)
    disk = answer._replace(contestant=publish.DISK)
    return [*found, Target("answer to one connection, durable / a sync", answer, publish.ANSWER, disk, at_most=1.7)]


def _fanout(plan: Plan) -> list[Target]:
    single, burst = "200 B, one at a time", f"200 B, {plan.burst} at once"

    def ratio(one: Contestant, case: str, n: int, quantity: str, rival: Contestant, bound: float) -> Target:
        cell = Cell("fanout", case, n, one.name)
        name = f"{quantity}, {n} subscribers, {case}, {one.name} / {rival.name}"
        costs = "CPU" in quantity
        return Target(
            name,
            cell,
            quantity,
            cell._replace(contestant=rival.name),
            at_least=None if costs else bound,
            at_most=bound if costs else None,
        )

    rivals: tuple[tuple[Contestant, float], ...] = ((QUART, 12), (STARLETTE, 1), (WEBSOCKETS, 1))
    return [
        ratio(HOOKBOT, single, 1000, "µs of CPU per delivery", BARE, 1.3),
        ratio(HOOKBOT, burst, 1000, "µs of CPU per delivery", BARE, 1.0),
        ratio(HOOKBOT, single, 100, "deliveries/s", BARE, 0.85),
        ratio(DURABLE, single, 100, "deliveries/s", BARE, 0.6),
        *(
            ratio(HOOKBOT, case, n, "deliveries/s", rival, bound)
            for rival, bound in rivals
            for n in (100, 1000)
            for case in (single, burst)
        ),
    ]


def _many(plan: Plan) -> list[Target]:
    many = Cell("many_topics", many_topics.FLAT_OUT, plan.many_topics, HOOKBOT.name)
    at_the_end = many._replace(case=many_topics.AT_THE_END)
    late = Cell("fair", fair.LONG, plan.subscribers[-1], HOOKBOT.name)
    healthy = Cell("stalled", "none stalled", 1000, HOOKBOT.name)
    topic = Cell("topics", "one topic", 1, HOOKBOT.name)
    topics = topic._replace(n=plan.topics)
    cpu, rate = "µs of CPU per publish", "deliveries/s"
    return [
        Target(f"{cpu}, {many.n:,} topics / one", many, cpu, many._replace(n=1), at_most=1.25),
        Target(f"{cpu}, {many.n:,} topics / 16", many, cpu, many._replace(n=many_topics.PUBLISHERS), at_most=1.15),
        Target(f"latency of {many.n:,} topics at the end / in a short run", at_the_end, "ms, p50", many, at_most=1.5),
        Target("latency of 10 KB flat out, ms, p99", late, "ms, p99", None, at_most=300),
        Target("the same in a long run / in a short one", late, "ms, p99", late._replace(case=fair.SHORT), at_most=1.5),
        Target("deliveries/s of 10 KB / nats-server", late, rate, late._replace(contestant=NATS.name), at_least=0.8),
        Target("cost of a publish, 100,000 topics / 1", topics, "µs per publish", topic, at_most=1.2),
        Target(f"{rate}, 5 % stalled / none", healthy._replace(case="5 % stalled"), rate, healthy, at_least=0.9),
    ]


def _secure(plan: Plan) -> list[Target]:
    def kept(case: str, n: int, quantity: str) -> Target:
        cell = Cell("secure", f"TLS, {case}", n, HOOKBOT.name)
        return Target(f"{quantity}, TLS / without", cell, quantity, cell._replace(case=f"no TLS, {case}"), at_least=0.6)

    idle = Cell("secure", "TLS, idle", plan.idle_tls, HOOKBOT.name)
    return [
        kept("publishes of 1 KB", plan.connections[-1], "publishes/s"),
        kept("200 B, one at a time", plan.listeners, "deliveries/s"),
        Target(
            "memory of an idle subscriber with TLS / a bare `SSLSocket`",
            idle,
            "kB each",
            idle._replace(contestant=BARE.name),
            at_most=1.6,
        ),
    ]


def _history(plan: Plan) -> list[Target]:
    reading = Cell("history", CATCHING_UP, 1, DURABLE.name)
    publishing = Cell("history", PUBLISHING, 2, DURABLE.name)
    behind = Cell("history", BEHIND, plan.history, DURABLE.name)
    return [
        Target("messages/s of one who catches up", reading, "messages/s", None, at_least=80_000),
        Target(
            "publishes/s, durable, while two catch up / nobody does",
            publishing,
            "publishes/s",
            publishing._replace(n=0),
            at_least=0.75,
        ),
        Target(f"memory for a subscriber who is {plan.history:,} behind, MiB", behind, "MiB", None, at_most=1),
    ]


def _hubs() -> list[Target]:
    cells = [Cell("many_hubs", many_hubs.FOLLOWING, rate, many_hubs.TWO.name) for rate in many_hubs.RATES]
    return [
        Target(f"ms from an answer to a listener of another hub, {cell.n} messages/s", cell, "ms, p50", None, at_most=2)
        for cell in cells
    ]


def _connecting(plan: Plan) -> list[Target]:
    handshakes = Cell("handshakes", "websocket", plan.handshakes, HOOKBOT.name)
    start = Cell("start", STARTING, 0, DURABLE.name)
    long = start._replace(n=plan.history)
    return [
        Target("RSS of an idle subscriber, kB", Cell("idle", "RSS", 5000, HOOKBOT.name), "kB each", None, at_most=3),
        Target(
            "handshakes/s / Quart-Trio",
            handshakes,
            "handshakes/s",
            handshakes._replace(contestant=QUART.name),
            at_least=9,
        ),
        Target(
            "start / `import trio, quart_trio, hypercorn`",
            start,
            "ms",
            start._replace(contestant=IMPORTING),
            at_most=0.6,
        ),
        Target(f"start, {plan.history:,} messages stored / none", long, "ms", start, at_most=1.1),
    ]
