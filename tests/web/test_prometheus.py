"""The text format of Prometheus."""

from hookbot.log.histogram import Histogram
from hookbot.web.metrics import Metrics
from hookbot.web.prometheus import render


def lines(metrics: Metrics) -> list[str]:
    return render(metrics).decode().splitlines()


def test_a_metric_is_read_at_each_scrape_and_not_before() -> None:
    values = [1.0]
    metrics = Metrics()
    metrics.add("gauge", "head", "Position of the newest message.", lambda: values[-1])
    assert "hookbot_head 1.0" in lines(metrics)

    values.append(2.0)

    assert "hookbot_head 2.0" in lines(metrics)


def test_a_metric_with_a_label_has_a_line_for_each_of_its_values() -> None:
    metrics = Metrics()
    metrics.add("counter", "refused", "Requests.", lambda: {"401": 1, "413": 2}, label="status")

    assert 'hookbot_refused_total{status="401"} 1.0' in lines(metrics)
    assert 'hookbot_refused_total{status="413"} 2.0' in lines(metrics)


def test_a_metric_with_several_labels_has_a_line_for_each_tuple_of_their_values() -> None:
    metrics = Metrics()
    metrics.add("gauge", "lag", "Messages.", lambda: {("cursor", "ci"): 3}, label=("kind", "name"))

    assert 'hookbot_lag{kind="cursor",name="ci"} 3.0' in lines(metrics)


def test_a_histogram_has_a_line_for_each_bound() -> None:
    histogram = Histogram((0.5, 1.0))
    histogram.add(0.5, 2)
    histogram.add(7)
    metrics = Metrics()
    metrics.add("histogram", "store_duration_seconds", "Seconds.", lambda: histogram)

    assert [line for line in lines(metrics) if line.startswith("hookbot_")] == [
        'hookbot_store_duration_seconds_bucket{le="0.5"} 2.0',
        'hookbot_store_duration_seconds_bucket{le="1.0"} 2.0',
        'hookbot_store_duration_seconds_bucket{le="+Inf"} 3.0',
        "hookbot_store_duration_seconds_count 3.0",
        "hookbot_store_duration_seconds_sum 8.0",
    ]
