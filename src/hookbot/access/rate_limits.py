"""Rate limits: leaky buckets, one for each active client, and bounded in number."""

import re
from collections import OrderedDict
from dataclasses import dataclass
from math import ceil

from ..errors import ConfigError, TooManyRequests
from ..protocol.sizes import parse_size

# About 2 MiB of memory. A client with more addresses than this is not stopped by a rate for each address anyway.
MAX_KEYS = 10_000
# The last of `count` uses fills the bucket exactly; floats may round its level up by less than this.
ROUNDING_S = 1e-6
_RATE = re.compile(r"([1-9][0-9]{0,8})/([smh])")
_PERIODS = {"s": 1, "m": 60, "h": 3600}


@dataclass(frozen=True, slots=True)
class Rate:
    """Limit of `count` uses per period on average; as many may come in one burst."""

    count: int
    period_s: float

    @classmethod
    def parse(cls, text: str) -> "Rate":
        """Parse a rate such as ``100/s``, ``60/m`` or ``1000/h``. Raises `ConfigError` for anything else."""
        match = _RATE.fullmatch(text)
        if match is None:
            raise ConfigError(f"a rate must be like 100/s, 60/m or 1000/h, not {text!r}")
        return cls(int(match[1]), _PERIODS[match[2]])

    @classmethod
    def parse_bytes(cls, text: str) -> "Rate":
        """Parse a rate of bytes such as ``10MB/s`` or ``1GB/h``. Raises `ConfigError` for anything else."""
        size, _, period = text.rpartition("/")
        try:
            count = parse_size(size) if period in _PERIODS else 0
        except ValueError:
            count = 0
        if not count:
            raise ConfigError(f"a rate of bytes must be like 10MB/s, 100MB/m or 1GB/h, not {text!r}")
        return cls(count, _PERIODS[period])


FAILURES = Rate(100, 60)
"""Default limit for one client on requests without a valid token or signature."""


class Bucket:
    """Leaky bucket of one rate: it holds `count` uses, and leaks them evenly within the period."""

    __slots__ = ("_each_s", "_empty_at", "_period_s")

    def __init__(self, rate: Rate) -> None:
        self._period_s = rate.period_s
        self._each_s = rate.period_s / rate.count
        self._empty_at = 0.0

    def use(self, uses: int = 1, *, now_s: float) -> float:
        """Count uses and return 0. If they exceed the rate, count nothing and return the seconds to wait for them."""
        level = self._level_s(now_s)
        filled = level + uses * self._each_s
        fits = filled <= self._period_s + ROUNDING_S
        self._empty_at = now_s + (filled if fits else level)
        return 0 if fits else filled - self._period_s

    def wait_s(self, uses: int = 1, *, now_s: float) -> float:
        """Seconds until so many uses fit in; 0 if they do now. Counts nothing."""
        over_s = self._level_s(now_s) + uses * self._each_s - self._period_s
        return over_s if over_s > ROUNDING_S else 0

    def used(self, *, now_s: float) -> float:
        """Number of uses that it holds."""
        return self._level_s(now_s) / self._each_s

    def _level_s(self, now_s: float) -> float:
        """Seconds until it is empty."""
        level = self._empty_at - now_s
        # Capped at a full bucket: if the clock is set back by hours, clients do not wait for hours.
        return 0 if level < 0 else min(level, self._period_s)


class RateLimiter:
    """Limiter of the uses of each key to one rate. Beyond `MAX_KEYS` keys, the least recently used is forgotten."""

    def __init__(self, rate: Rate, what: str) -> None:
        """`what`: name of the uses, for the error."""
        self.rate = rate
        self._what = what
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    def use(self, key: str, *, now_s: float) -> None:
        """Count one use. If it exceeds the rate, count nothing and raise `TooManyRequests`."""
        # Moved to the end, also when refused, so that a busy client is not the one that is forgotten.
        bucket = self._buckets.setdefault(key, Bucket(self.rate))
        self._buckets.move_to_end(key)
        if len(self._buckets) > MAX_KEYS:
            self._buckets.popitem(last=False)
        if wait_s := bucket.use(now_s=now_s):
            raise TooManyRequests(f"too many {self._what} from you", retry_after_s=ceil(wait_s))
