"""Metrics: plain numbers that the hub keeps anyway, read when somebody scrapes them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from ..access.control import AccessControl
from ..broker.broker import Broker
from ..log.histogram import Histogram
from .bodies import BodyBudget
from .held_bytes import HeldBytes
from .unauthenticated import UnauthenticatedConnections

MetricKind = Literal["counter", "gauge", "histogram"]
Labels = str | tuple[str, ...]
Read = Callable[[], float | Histogram | Mapping[Any, float]]

RouterStates = Callable[[], Sequence[Mapping[str, Any]]]
"""Function that returns the state of each router as a JSON object; `web` may not import `routers`."""

ROUTER_GAUGES = ("lag", "hanging")
ROUTER_METRICS = {
    "lag": "Messages in the log that the router has not read yet.",
    "routed": "Messages routed.",
    "published": "Messages published by the router.",
    "failed": "Messages given up after the last retry.",
    "restarts": "Restarts after a crash.",
    "blocked": "Times that the router blocked the event loop.",
    "abandoned": "Runs abandoned because they did not end.",
    "hanging": "Abandoned runs that have not ended yet.",
}


@dataclass(frozen=True, slots=True)
class Metric:
    """A number that can be read, or with `labels` a number for each of their values."""

    kind: MetricKind
    name: str
    help: str
    labels: Sequence[str]
    read: Read


class Metrics:
    """The metrics of one hub."""

    def __init__(self) -> None:
        self._metrics: list[Metric] = []

    def __iter__(self) -> Iterator[Metric]:
        return iter(self._metrics)

    def add(self, kind: MetricKind, name: str, help: str, read: Read, *, label: Labels = ()) -> None:
        """Add the metric ``hookbot_<name>``; with a `label`, `read` returns a number for each of the label's values.

        With several, it returns a number for each tuple of their values. There must be a bound on how many that are.
        """
        labels = (label,) if isinstance(label, str) else label
        self._metrics.append(Metric(kind, f"hookbot_{name}", help, labels, read))


def hub_metrics(broker: Broker, access: AccessControl, routers: RouterStates) -> Metrics:
    """The metrics that a hub shows at ``/metrics``."""
    metrics = Metrics()
    counts = broker.counts
    metrics.add("counter", "published", "Messages stored.", lambda: counts.published)
    metrics.add("counter", "published_bytes", "Bytes of the bodies of stored messages.", lambda: counts.published_bytes)
    metrics.add(
        "counter",
        "duplicates",
        "Publishes that repeated a stored message and were not stored again.",
        lambda: counts.duplicates,
    )
    metrics.add("counter", "delivered", "Messages sent to subscribers.", lambda: counts.delivered)
    metrics.add("counter", "commits", "Commits of the log.", lambda: counts.commit_times.count)
    metrics.add("counter", "commit_seconds", "Seconds that commits of the log took.", lambda: counts.commit_times.sum)
    metrics.add("counter", "refused", "Requests answered with an error status.", lambda: counts.refused, label="status")
    metrics.add("gauge", "head", "Position of the newest message.", lambda: broker.head)
    metrics.add("gauge", "subscribers", "Active subscriptions.", lambda: len(access.active))
    metrics.add(
        "gauge",
        "clock_jump_seconds",
        "Seconds by which the machine's clock is ahead of the time that the hub goes by; 0 while it follows.",
        lambda: broker.clock.jump_s,
    )
    for field, help in ROUTER_METRICS.items():
        kind: MetricKind = "gauge" if field in ROUTER_GAUGES else "counter"
        metrics.add(kind, f"router_{field}", help, partial(_by_router, routers, field), label="router")
    return metrics


def add_limits(
    metrics: Metrics, bodies: BodyBudget, held: HeldBytes, unauthenticated: UnauthenticatedConnections
) -> None:
    """Add the metrics of what the hub holds for untrusted clients, and refuses them."""
    metrics.add("gauge", "held_bytes", "Bytes that wait for slow subscribers.", lambda: held.size)
    metrics.add("counter", "cut_subscribers", "Slow subscribers cut off for memory.", lambda: held.cut)
    metrics.add("gauge", "body_bytes", "Bytes of bodies received but not answered yet.", lambda: bodies.held_bytes)
    metrics.add(
        "counter",
        "bodies_refused",
        "Bodies refused because they were too slow or took too much memory.",
        lambda: bodies.refused,
        label="reason",
    )
    metrics.add(
        "gauge",
        "unauthenticated_connections",
        "Connections that have shown no token or signature.",
        lambda: unauthenticated.count,
    )
    metrics.add(
        "counter",
        "connections_refused",
        "Connections refused because their address had too many of these.",
        lambda: unauthenticated.refused,
    )
    metrics.add(
        "counter",
        "connections_evicted",
        "Connections ended to make room for others.",
        lambda: unauthenticated.evicted,
    )


def _by_router(routers: RouterStates, field: str) -> Mapping[str, float]:
    return {one["name"]: one[field] for one in routers()}
