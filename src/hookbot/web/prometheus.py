"""The text format of Prometheus, in which ``/metrics`` shows the metrics of a hub."""

from collections.abc import Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from ..log.histogram import Histogram
from .metrics import Metric

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
FAMILIES = {"counter": CounterMetricFamily, "gauge": GaugeMetricFamily, "histogram": HistogramMetricFamily}


def render(metrics: Iterable[Metric]) -> bytes:
    """The metrics, each of which is read now, in the text format of Prometheus."""
    # A registry of its own: the library's global one would mix the hubs of one process.
    once = CollectorRegistry()
    once.register(_Scrape(metrics))
    # Of Linux: it shows nothing elsewhere.
    ProcessCollector(registry=once)
    return generate_latest(once)


class _Scrape(Collector):
    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Family]:
        for metric in self._metrics:
            family = FAMILIES[metric.kind](metric.name, metric.help, labels=metric.labels)
            value = metric.read()
            for labels, number in value.items() if isinstance(value, Mapping) else [((), value)]:
                values = (number.buckets(), number.sum) if isinstance(number, Histogram) else (number,)
                family.add_metric([labels] if isinstance(labels, str) else labels, *values)
            yield family
