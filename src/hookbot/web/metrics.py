"""What the hub counts, for Prometheus: plain numbers while it works, read when somebody asks for ``/metrics``."""

from collections.abc import Callable, Iterator, Mapping
from typing import Literal

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

MetricKind = Literal["counter", "gauge"]
Read = Callable[[], float | Mapping[str, float]]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


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
        """Called by the registry."""
        families = {"counter": CounterMetricFamily, "gauge": GaugeMetricFamily}
        for kind, name, help, label, read in self._reads:
            family = families[kind](name, help, labels=[label] if label else [])
            value = read()
            values = value if isinstance(value, Mapping) else {"": value}
            for label_value, number in values.items():
                family.add_metric([label_value] if label else [], number)
            yield family
