"""How long to wait before something is tried again."""

from random import SystemRandom


class Backoff:
    """Delays that double from `first_s` to `longest_s`, shortened at random, so that many do not come back in step."""

    def __init__(self, first_s: float, longest_s: float) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._failures = 0

    def next_s(self) -> float:
        """Seconds to wait after one more failure."""
        bound = min(self._longest_s, self._first_s * 2 ** min(self._failures, 30))
        self._failures += 1
        return SystemRandom().uniform(bound / 2, bound)

    def reset(self) -> None:
        """It works again: begin with short delays."""
        self._failures = 0
