"""How long to wait before the next attempt."""

from random import SystemRandom

SHORTEST_S = 0.5
LONGEST_S = 30.0
GOOD_S = 60.0  # a connection that lasted this long was a good one: begin again with short delays


class Backoff:
    """Random delays between `SHORTEST_S` and a bound that doubles up to `LONGEST_S`.

    Wholly random, so that a thousand listeners whose hub restarts do not come back in step.
    """

    def __init__(self) -> None:
        self._failures = 0

    def next_s(self, *, lasted_s: float = 0, at_least_s: float = 0) -> float:
        """Seconds to wait after an attempt that was good for `lasted_s`; never less than the hub asked for."""
        self._failures = 1 if lasted_s >= GOOD_S else self._failures + 1
        bound = min(LONGEST_S, SHORTEST_S * 2 ** min(self._failures, 16))
        return max(at_least_s, SystemRandom().uniform(SHORTEST_S, bound))
