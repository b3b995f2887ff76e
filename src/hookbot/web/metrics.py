"""Metrics for Prometheus: plain numbers while the hub works, read when somebody asks for ``/metrics``."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Literal

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ..access.control import AccessControl
from ..broker.broker import Broker

MetricKind = Literal["counter", "gauge"]
Read = Callable[[], float | Mapping[str, float]]

RouterStates = Callable[[], Sequence[Mapping[str, Any]]]
"""The state of each router, as JSON; the web knows nothing else of them."""

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
ROUTER_METRICS = {
    "lag": "How many messages of the log it has not looked at yet.",
    "routed": "Messages dealt with.",
    "published": "Messages published.",
    "failed": "Messages given up.",
    "restarts": "Times it crashed and was made anew.",
    "blocked": "Times it held up the event loop.",
}


class Metrics(Collector):
    """The metrics of one hub, on a registry of its own. Each is read when it is asked for, and costs nothing before."""

    def __init__(self) -> None:
        self._reads: list[tuple[MetricKind, str, str, str, Read]] = []

    def add(self, kind: MetricKind, name: str, help: str, read: Read, *, label: str = "") -> None:
        """Add one metric, `hookbot_<name>`; with a `label`, `read` returns a number for each of its values."""
        self._reads.append((kind, f"hookbot_{name}", help, label, read))

    def render(self) -> bytes:
        """All of them in the text format of Prometheus."""
        once = CollectorRegistry()
        once.register(self)
        return generate_latest(once)

    def collect(self) -> Iterator[Metric]:
        families = {"counter": CounterMetricFamily, "gauge": GaugeMetricFamily}
        for kind, name, help, label, read in self._reads:
            family = families[kind](name, help, labels=[label] if label else [])
            value = read()
            values = value if isinstance(value, Mapping) else {"": value}
            for label_value, number in values.items():
                family.add_metric([label_value] if label else [], number)
            yield family


def hub_metrics(broker: Broker, access: AccessControl, routers: RouterStates) -> Metrics:
    """The metrics at ``/metrics``."""
    metrics = Metrics()
    counts = broker.counts
    metrics.add("counter", "published", "Messages stored.", lambda: counts.published)
    metrics.add("counter", "published_bytes", "Bytes of their bodies.", lambda: counts.published_bytes)
    metrics.add("counter", "duplicates", "Publishes whose key was known: not stored again.", lambda: counts.duplicates)
    metrics.add("counter", "refused", "Requests answered with an error.", lambda: counts.refused, label="status")
    metrics.add("gauge", "head", "Position of the newest message.", lambda: broker.head)
    metrics.add("gauge", "subscribers", "Subscriptions that stand.", lambda: len(access.active))
    for field, help in ROUTER_METRICS.items():
        kind: MetricKind = "gauge" if field == "lag" else "counter"
        metrics.add(kind, f"router_{field}", help, partial(_by_router, routers, field), label="router")
    return metrics


def _by_router(routers: RouterStates, field: str) -> Mapping[str, float]:
    return {one["name"]: one[field] for one in routers()}
