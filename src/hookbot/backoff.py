"""Delays after failed attempts."""

from random import SystemRandom

# A restarting hub is back within seconds; one that stays down is not burdened by about four attempts a minute.
SHORTEST_S = 0.5
LONGEST_S = 30.0
GOOD_S = 60.0
"""An attempt that lasted this long counts as a success, so that the next delay is a short one again."""


class Backoff:
    """Random delays of at least `shortest_s`, up to a bound that doubles with each failure until it is `longest_s`.

    After the first failure, the bound is twice `shortest_s`. `spread` is the random share of the bound: by default all
    of it, so that a thousand listeners do not reconnect at the same moment after their hub restarts; a single client
    needs less.
    """

    def __init__(self, shortest_s: float = SHORTEST_S, longest_s: float = LONGEST_S, *, spread: float = 1.0) -> None:
        self._shortest_s = shortest_s
        self._longest_s = longest_s
        self._spread = spread
        self._failures = 0

    def next_s(self, *, lasted_s: float = 0, at_least_s: float = 0) -> float:
        """Seconds to wait after an attempt that failed after `lasted_s`.

        The random delay begins after `at_least_s`: the server has told the same number to everyone whom it could not
        serve, and they must not all come back at that moment. One that lasted `GOOD_S` resets the count of failures.
        """
        self._failures = 1 if lasted_s >= GOOD_S else self._failures + 1
        bound = min(self._longest_s, self._shortest_s * 2 ** min(self._failures, 16))
        shortest = max(self._shortest_s, bound * (1 - self._spread))
        return at_least_s + SystemRandom().uniform(shortest, bound)
