"""Rate limits: leaky buckets, one for each untrusted client that is busy, and bounded in number."""

import re
from collections import OrderedDict
from dataclasses import dataclass
from math import ceil

from ..errors import ConfigError, TooManyRequests

MAX_KEYS = 10_000
ROUNDING_S = 1e-6
_RATE = re.compile(r"([1-9][0-9]{0,8})/([smh])")
_PERIODS = {"s": 1, "m": 60, "h": 3600}


@dataclass(frozen=True, slots=True)
class Rate:
    """A number of uses in a period, all at once if need be."""

    count: int
    period_s: float

    @classmethod
    def parse(cls, text: str) -> "Rate":
        """Read ``100/s``, ``60/m`` or ``1000/h``; raises `ConfigError`."""
        match = _RATE.fullmatch(text)
        if match is None:
            raise ConfigError(f"a rate is like 100/s, 60/m or 1000/h, not {text!r}")
        return cls(int(match[1]), _PERIODS[match[2]])


FAILURES = Rate(100, 60)
"""The default limit of one client on requests without a valid token or signature."""


class RateLimiter:
    """Counts the uses of each key against one rate. The keys that were used last are remembered, up to `MAX_KEYS`."""

    def __init__(self, rate: Rate) -> None:
        self.rate = rate
        self._empty_at: OrderedDict[str, float] = OrderedDict()
        """When the bucket of each key will be empty."""

    def use(self, key: str, what: str, *, now_s: float) -> None:
        """Count one use; raises `TooManyRequests`, and counts nothing, if that exceeds the rate."""
        period_s = self.rate.period_s
        level = min(max(self._empty_at.pop(key, now_s) - now_s, 0), period_s)  # no more, if the clock was set back
        filled = level + period_s / self.rate.count
        fits = filled <= period_s + ROUNDING_S
        self._empty_at[key] = now_s + (filled if fits else level)
        if len(self._empty_at) > MAX_KEYS:
            self._empty_at.popitem(last=False)
        if not fits:
            raise TooManyRequests(f"too many {what} from you", retry_after_s=ceil(filled - period_s))
