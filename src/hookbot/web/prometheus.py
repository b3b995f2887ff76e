"""The text format of Prometheus, in which ``/metrics`` shows the metrics of a hub."""

from collections.abc import Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from .metrics import Metric

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
FAMILIES = {"counter": CounterMetricFamily, "gauge": GaugeMetricFamily}


def render(metrics: Iterable[Metric]) -> bytes:
    """The metrics, each of which is read now, in the text format of Prometheus."""
    # A registry of its own: the library's global one would mix the hubs of one process.
    once = CollectorRegistry()
    once.register(_Scrape(metrics))
    return generate_latest(once)


class _Scrape(Collector):
    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Family]:
        for metric in self._metrics:
            family = FAMILIES[metric.kind](metric.name, metric.help, labels=[metric.label] if metric.label else [])
            value = metric.read()
            values = value if isinstance(value, Mapping) else {"": value}
            for label_value, number in values.items():
                family.add_metric([label_value] if metric.label else [], number)
            yield family
