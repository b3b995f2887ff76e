"""Histograms: how many values were how large, in as many integers as there are bounds.

Those of prometheus_client take a lock and a microsecond for each value, which is more than a publish has to spare.
"""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate

SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
COUNTS = tuple(1 << power for power in range(0, 13, 2))


class Histogram:
    """Numbers of the values up to each of some ascending bounds, and the sum of all. Only one thread may add to it."""

    __slots__ = ("_bounds", "_numbers", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.sum = 0.0
        self._bounds = bounds
        self._numbers = [0] * (len(bounds) + 1)

    @property
    def count(self) -> int:
        """Number of all values."""
        return sum(self._numbers)

    def add(self, value: float, times: int = 1) -> None:
        """Add a value that often."""
        self._numbers[bisect_left(self._bounds, value)] += times
        self.sum += value * times

    def buckets(self) -> Sequence[tuple[str, float]]:
        """Each bound, the last one ``+Inf``, with the number of values up to it, as Prometheus shows them."""
        return [*zip([*map(str, self._bounds), "+Inf"], accumulate(self._numbers), strict=True)]
