"""Quotas: limits of an operator on what is published to the topics of a prefix, and on who subscribes to them.

They are counted by topic, whoever the client is: beside them, the other limits are on each client.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Literal

from ..errors import QuotaReached, Refused
from ..protocol.paths import path_to
from ..protocol.topics import RECURSIVE, TopicFilter, is_subtree, patterns_of
from .rate_limits import Bucket, Rate

QuotaKind = Literal["publishes", "bytes", "subscribers", "cursors"]
"""Kind of a quota: limits publishes and the bytes of their bodies in a time, the others at a time."""

# Subscriptions last for hours, so a client that retries sooner would hardly ever find room.
RETRY_AFTER_S = 30

NO_QUOTAS: Sequence["Quota"] = ()


@dataclass(frozen=True, slots=True)
class QuotaUse:
    """Use of one limit of a quota."""

    prefix: str
    kind: QuotaKind
    limit: int
    period_s: float | None
    """Time in which so many are allowed on average; None if as many are allowed at a time."""
    written: str
    """The limit, as it is configured."""
    used: float
    refused: int
    """Number of requests that were refused because of it."""


class Quota:
    """Quota of a prefix: a topic or, ending in ``/``, everything beneath it, as in the patterns of a `TopicFilter`."""

    def __init__(self, prefix: str, limits: Mapping[QuotaKind, Rate | int], written: Mapping[str, str | int]) -> None:
        """`written`: the limits, as they are configured."""
        self.prefix = prefix
        self.limits = limits
        self.subscribers = 0
        """Number of active subscriptions that it counts."""
        self._written = written
        self._buckets = {name: Bucket(limit) for name, limit in limits.items() if isinstance(limit, Rate)}
        self._refused: Counter[str] = Counter()
        self._path = path_to("subscribe", prefix)

    @property
    def max_body_bytes(self) -> int | None:
        """Size of the largest body that it ever allows; None if it allows any."""
        limit = self.limits.get("bytes")
        return limit.count if isinstance(limit, Rate) else None

    def check_publish(self, size: int, *, now_s: float) -> None:
        """Raise `QuotaReached` if a publish with a body of this size exceeds it now. Counts nothing but that."""
        for name, bucket in self._buckets.items():
            if wait_s := bucket.wait_s(size if name == "bytes" else 1, now_s=now_s):
                raise QuotaReached(self._refuse(name), retry_after_s=ceil(wait_s))

    def count_publish(self, size: int, *, now_s: float) -> None:
        """Count a publish that was checked."""
        for name, bucket in self._buckets.items():
            bucket.use(size if name == "bytes" else 1, now_s=now_s)

    def check_subscription(self) -> None:
        """Raise `QuotaReached` if there may not be another subscription."""
        limit = self.limits.get("subscribers")
        if isinstance(limit, int) and self.subscribers >= limit:
            raise QuotaReached(self._refuse("subscribers"), retry_after_s=RETRY_AFTER_S)

    def check_cursor(self, paths: Collection[str]) -> None:
        """Raise `Refused` if there may not be another cursor or group, beside those that have these paths."""
        limit = self.limits.get("cursors")
        if isinstance(limit, int) and self.count_cursors(paths) >= limit:
            raise Refused(f"{self._refuse('cursors')}; delete a cursor or a group first")

    def count_cursors(self, paths: Collection[str]) -> int:
        """Number of the decoded paths of subscriptions that it counts: in text, since there may be tens of thousands.

        They are the same of which `Quotas.of` says so.
        """
        at = self._path
        if not is_subtree(self.prefix):
            return sum(path.removesuffix(RECURSIVE) == at for path in paths)
        parent = at.removesuffix("/") + RECURSIVE
        return sum(path.startswith(at) or path == parent for path in paths)

    def uses(self, paths: Collection[str], *, now_s: float) -> Iterator[QuotaUse]:
        """Use of each limit; `paths` are those of the cursors and groups that there are."""
        for name, limit in self.limits.items():
            count, period_s = (limit.count, limit.period_s) if isinstance(limit, Rate) else (limit, None)
            used: float = self.subscribers if name == "subscribers" else 0
            if name in self._buckets:
                used = self._buckets[name].used(now_s=now_s)
            elif name == "cursors":
                used = self.count_cursors(paths)
            yield QuotaUse(self.prefix, name, count, period_s, str(self._written[name]), used, self._refused[name])

    def _refuse(self, name: QuotaKind) -> str:
        self._refused[name] += 1
        return f"the quota of {self.prefix or 'all topics'!r} is reached: {name} = {self._written[name]}"


class Quotas:
    """The quotas of a hub, by prefix. A topic falls under each whose prefix holds it, and all have to allow it."""

    def __init__(self, quotas: Iterable[Quota] = ()) -> None:
        self._by_prefix = {quota.prefix: quota for quota in quotas}

    def __iter__(self) -> Iterator[Quota]:
        return iter(self._by_prefix.values())

    def uses(self, paths: Collection[str], *, now_s: float) -> Iterator[QuotaUse]:
        """Use of each limit; `paths` are those of the cursors and groups that there are."""
        for quota in self:
            yield from quota.uses(paths, now_s=now_s)

    def adopt(self, other: "Quotas") -> None:
        """Replace the quotas by those of `other`; what is used of those with the same limits stays."""
        former, self._by_prefix = self._by_prefix, dict(other._by_prefix)
        for prefix, quota in self._by_prefix.items():
            if prefix in former and former[prefix].limits == quota.limits:
                self._by_prefix[prefix] = former[prefix]

    def of(self, *patterns: str) -> Sequence[Quota]:
        """The quotas under which a topic falls, or what subscribes to these patterns, if only by one of them."""
        if not self._by_prefix:
            return NO_QUOTAS
        prefixes = dict.fromkeys(prefix for pattern in patterns for prefix in patterns_of(pattern))
        return tuple(self._by_prefix[prefix] for prefix in prefixes if prefix in self._by_prefix)

    def check_subscription(self, wanted: TopicFilter) -> None:
        """Raise `QuotaReached` if there may not be another subscription to these topics."""
        for quota in self.of(*wanted.patterns):
            quota.check_subscription()

    def of_cursors(self, wanted: TopicFilter) -> Sequence[Quota]:
        """The quotas that limit the cursors and groups of these topics."""
        return [quota for quota in self.of(*wanted.patterns) if "cursors" in quota.limits]

    def count_subscription(self, wanted: TopicFilter, change: Literal[1, -1] = 1) -> None:
        """Count a subscription that has begun, or ended."""
        for quota in self.of(*wanted.patterns):
            quota.subscribers += change


def check_publish(quotas: Sequence[Quota], size: int, *, now_s: float) -> None:
    """Raise `QuotaReached` if a publish with a body of this size exceeds one of the quotas now."""
    for quota in quotas:
        quota.check_publish(size, now_s=now_s)


def count_publish(quotas: Sequence[Quota], size: int, *, now_s: float) -> None:
    """Count a publish in all the quotas. Raises as `check_publish`, and then counts it in none."""
    check_publish(quotas, size, now_s=now_s)
    for quota in quotas:
        quota.count_publish(size, now_s=now_s)
