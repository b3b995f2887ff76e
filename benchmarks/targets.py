"""Performance targets of hookbot, most of them as ratios within one run."""

from dataclasses import dataclass

from benchmarks.contestants import BARE, DURABLE, HOOKBOT, QUART, STARLETTE, WEBSOCKETS, Contestant
from benchmarks.measures.history import BEHIND, CATCHING_UP, PUBLISHING
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
    return [*_fanout(plan), *_others(plan), *_history(plan)]


def _fanout(plan: Plan) -> list[Target]:
    single, burst = "200 B, one at a time", f"200 B, {plan.burst} at once"
    found = [
        Target(
            f"CPU per delivery, 1000 subscribers, {case} / bare `socket.send`",
            Cell("fanout", case, 1000, HOOKBOT.name),
            "µs of CPU per delivery",
            Cell("fanout", case, 1000, BARE.name),
            at_most=bound,
        )
        for case, bound in ((single, 1.6), (burst, 1.0))
    ]
    rivals: list[tuple[Contestant, float]] = [(QUART, 12), (STARLETTE, 1), (WEBSOCKETS, 1)]
    for rival, bound in rivals:
        for n in (100, 1000):
            for case in (single, burst):
                mine, theirs = Cell("fanout", case, n, HOOKBOT.name), Cell("fanout", case, n, rival.name)
                name = f"deliveries/s, {n} subscribers, {case} / {rival.name}"
                found.append(Target(name, mine, "deliveries/s", theirs, at_least=bound))
    return found


def _others(plan: Plan) -> list[Target]:
    def ratio(name: str, measure: str, case: str, n: int, mine: Contestant, quantity: str, bound: float) -> Target:
        cell = Cell(measure, case, n, mine.name)
        return Target(name, cell, quantity, cell._replace(contestant=QUART.name), at_least=bound)

    topic = Cell("topics", "one topic", 1, HOOKBOT.name)
    healthy = Cell("stalled", "none stalled", 1000, HOOKBOT.name)
    return [
        Target("RSS of an idle subscriber, kB", Cell("idle", "RSS", 5000, HOOKBOT.name), "kB each", None, at_most=3),
        ratio("publishes/s, 64 connections, durable / Quart-Trio", "publish", "1 KB", 64, DURABLE, "publishes/s", 14),
        ratio("publishes/s, 64 connections, memory / Quart-Trio", "publish", "1 KB", 64, HOOKBOT, "publishes/s", 30),
        Target(
            "cost of a publish, 100,000 subscribed topics / 1",
            topic._replace(n=100_000),
            "µs per publish",
            topic,
            at_most=1.2,
        ),
        Target(
            "deliveries/s, 5 % of 1000 subscribers stalled / none",
            healthy._replace(case="5 % stalled"),
            "deliveries/s",
            healthy,
            at_least=0.9,
        ),
        ratio("handshakes/s / Quart-Trio", "handshakes", "websocket", plan.handshakes, HOOKBOT, "handshakes/s", 5),
    ]


def _history(plan: Plan) -> list[Target]:
    reading = Cell("history", CATCHING_UP, 1, DURABLE.name)
    publishing = Cell("history", PUBLISHING, 2, DURABLE.name)
    behind = Cell("history", BEHIND, plan.history, DURABLE.name)
    return [
        Target("messages/s of one who catches up", reading, "messages/s", None, at_least=30_000),
        Target(
            "publishes/s, durable, while two catch up / nobody does",
            publishing,
            "publishes/s",
            publishing._replace(n=0),
            at_least=0.5,
        ),
        Target(f"memory for a subscriber who is {plan.history:,} behind, MiB", behind, "MiB", None, at_most=1),
    ]
