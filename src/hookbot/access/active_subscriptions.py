"""Active subscriptions: limited in number, ended when their token expires or is revoked."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf

from ..errors import TooManyRequests, Unauthorized
from .authorizer import Authorizer, Grant

# Subscriptions last for hours, so a client that retries sooner would hardly ever find room.
RETRY_AFTER_S = 30
GRANT_ENDED = "the token is no longer valid"

End = Callable[[], None]
"""Callback that ends one subscription. It must neither block nor raise, and may be called again until `remove`."""


class ActiveSubscriptions:
    """Active subscriptions of a hub, by grant. A limit of None means no limit."""

    def __init__(
        self,
        authorizer: Authorizer,
        *,
        clock_us: Callable[[], int],
        max_subscribers: int | None = None,
        max_per_token: int | None = None,
    ) -> None:
        self.authorizer = authorizer
        self.max_subscribers = max_subscribers
        self.max_per_token = max_per_token
        self._clock_us = clock_us
        self._ends: dict[Grant, dict[object, End]] = {}
        self._expiring: dict[Grant, None] = {}
        self._held: Counter[object] = Counter()
        self._count = 0
        self._changed = False

    def __len__(self) -> int:
        return self._count

    def adopt(self, other: "ActiveSubscriptions") -> None:
        """Take over the authorizer and the limits of `other`; the next `sweep` checks every subscription."""
        self.authorizer = other.authorizer
        self.max_subscribers, self.max_per_token = other.max_subscribers, other.max_per_token
        self._changed = True

    def check(self, grant: Grant) -> None:
        """Raise `TooManyRequests` if a limit is reached, `Unauthorized` if the grant is no longer valid."""
        if not self._is_valid(grant):
            raise Unauthorized.because("the token has become invalid")
        if self.max_subscribers is not None and self._count >= self.max_subscribers:
            raise TooManyRequests(
                f"this hub has reached its limit of {self.max_subscribers} subscribers", retry_after_s=RETRY_AFTER_S
            )
        if self.max_per_token is not None and self._held[grant.holder] >= self.max_per_token:
            raise TooManyRequests(
                f"this token has reached its limit of {self.max_per_token} subscribers", retry_after_s=RETRY_AFTER_S
            )

    def add(self, grant: Grant, key: object, end: End) -> None:
        """Register a subscription without checking limits; `sweep` calls `end` when its grant is no longer valid."""
        self._ends.setdefault(grant, {})[key] = end
        if grant.expires_s < inf:
            self._expiring[grant] = None
        self._held[grant.holder] += 1
        self._count += 1

    def remove(self, grant: Grant, key: object) -> None:
        """Remove a subscription that has ended."""
        ends = self._ends[grant]
        del ends[key]
        if not ends:
            del self._ends[grant]
            self._expiring.pop(grant, None)
        self._held[grant.holder] -= 1
        # A Counter keeps entries of zero, one for each token ever used.
        if not self._held[grant.holder]:
            del self._held[grant.holder]
        self._count -= 1

    @contextmanager
    def hold(self, grant: Grant, end: End) -> Iterator[None]:
        """Register a subscription for the duration of the block. Raises the same errors as `check`."""
        self.check(grant)
        key = object()
        self.add(grant, key, end)
        try:
            yield
        finally:
            self.remove(grant, key)

    def sweep(self) -> Iterator[None]:
        """End all subscriptions whose grant is no longer valid; yields after each step, so that the caller can pause.

        Checks only grants that expire, unless the authorizer was replaced since the last sweep. Exhaust the iterator:
        the next sweep may not check the rest.
        """
        grants = tuple(self._ends if self._changed else self._expiring)
        self._changed = False
        for grant in grants:
            if self._is_valid(grant):
                yield
                continue
            # Copied, and looked up with a default: `end` may remove its subscription, and others end between steps.
            for end in tuple(self._ends.get(grant, {}).values()):
                end()
                yield

    def _is_valid(self, grant: Grant) -> bool:
        # Most tokens never expire, and asking for the time would cost more than all the rest.
        now_s = self._clock_us() / 1e6 if grant.expires_s < inf else 0.0
        return self.authorizer.is_valid(grant, now_s=now_s)
