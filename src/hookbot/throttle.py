"""Throttles: how often somebody may do something. Leaky buckets, as many as there are busy strangers, and bounded."""

from collections import OrderedDict
from dataclasses import dataclass
from math import ceil

from .errors import ConfigError, TooManyRequests

MAX_KEYS = 10_000
ROUNDING_S = 1e-6
_PERIODS = {"s": 1, "m": 60, "h": 3600}


@dataclass(frozen=True, slots=True)
class Rate:
    """So many in so many seconds, all at once if need be."""

    count: int
    period_s: float

    @classmethod
    def parse(cls, text: str) -> "Rate":
        """Read ``100/s``, ``60/m`` or ``1000/h``; raises `ConfigError`."""
        count, _, unit = text.partition("/")
        if not count.isdecimal() or int(count) < 1 or unit not in _PERIODS:
            raise ConfigError(f"a rate is like 100/s, 60/m or 1000/h, not {text!r}")
        return cls(int(count), _PERIODS[unit])


FAILURES = Rate(100, 60)
"""How often one address may come without a good token or signature, unless the configuration says otherwise."""


class Throttle:
    """Counts what each key does against one rate. The keys that did something last are remembered, up to `MAX_KEYS`."""

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._full_until: OrderedDict[str, float] = OrderedDict()

    def use(self, key: str, what: str, *, now_s: float) -> None:
        """Count one; raises `TooManyRequests`, and counts nothing, if it is too many."""
        cost = self._rate.period_s / self._rate.count
        until = max(self._full_until.pop(key, now_s), now_s) + cost
        too_much = until - now_s - self._rate.period_s - ROUNDING_S
        self._full_until[key] = until - cost if too_much > 0 else until
        if len(self._full_until) > MAX_KEYS:
            self._full_until.popitem(last=False)
        if too_much > 0:
            raise TooManyRequests(f"too many {what} from you", retry_after_s=ceil(too_much))
