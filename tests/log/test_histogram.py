"""Histograms: how many values were how large."""

from hookbot.log.histogram import Histogram


def test_a_value_counts_for_its_own_bound_and_all_above_it() -> None:
    histogram = Histogram((1, 10))
    for value in (0.5, 1, 2, 11):
        histogram.add(value)

    assert histogram.buckets() == [("1", 2), ("10", 3), ("+Inf", 4)]
    assert (histogram.count, histogram.sum) == (4, 14.5)


def test_a_value_may_be_added_many_times_at_once() -> None:
    histogram = Histogram((1,))
    histogram.add(0.5, 3)
    histogram.add(2, 0)

    assert (histogram.buckets(), histogram.sum) == ([("1", 3), ("+Inf", 3)], 1.5)
