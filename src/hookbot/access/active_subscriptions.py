"""Active subscriptions: limited in number, ended when their token expires or is revoked."""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from math import inf
from secrets import token_hex
from typing import Literal, Protocol, get_args

import trio

from ..errors import Ended, TooManyRequests, Unauthorized
from ..protocol.paths import LIVE, path_of
from ..protocol.subscribe import Format
from ..protocol.topics import TopicFilter
from ..protocol.websocket import POLICY_VIOLATION
from .authorizer import Authorizer, Grant
from .quotas import RETRY_AFTER_S, Quotas

# A subscription may outlive its token by this long.
SWEEP_INTERVAL_S = 1.0
# Sending a close frame takes about ten microseconds, so the event loop is held up for five milliseconds at most.
SWEEP_BATCH = 500

logger = logging.getLogger(__package__)

GRANT_ENDED = Ended(POLICY_VIOLATION, "the token is no longer valid")


class Requested(Protocol):
    """Object and format of a subscription: its request, or what all who ask for the same have in common."""

    @property
    def wanted(self) -> TopicFilter:
        """Topics."""

    @property
    def format(self) -> Format | Literal["live"]:
        """Format of the frames; live for a live view of the console."""

    @property
    def cursor(self) -> str:
        """Name of its cursor, or ""."""

    @property
    def group(self) -> str:
        """Name of its group, or ""."""


class ActiveSubscription(Protocol):
    """One active subscription, as it is listed and ended. `ActiveSubscriptions.add` sets its number and its time."""

    grant: Grant
    client: str
    """Address of the client."""
    number: int
    since_us: int
    """Time at which it began, in microseconds since 1970."""

    @property
    def request(self) -> Requested:
        """Its object and format."""

    def skip_unwanted(self) -> int | None:
        """Move past messages of other topics, and return the position up to which its client was sent everything.

        None if only another hub knows it.
        """

    def dismiss(self, reason: Ended) -> None:
        """End it for this reason. Neither blocks nor raises, and may be called again, until it is removed."""


class ActiveSubscriptions:
    """Active subscriptions of a hub, by grant. A limit of None means no limit."""

    def __init__(
        self,
        authorizer: Authorizer,
        *,
        clock_us: Callable[[], int],
        max_subscribers: int | None = None,
        max_per_token: int | None = None,
        quotas: Quotas | None = None,
    ) -> None:
        self.authorizer = authorizer
        self.quotas = quotas or Quotas()
        self.max_subscribers = max_subscribers
        self.max_per_token = max_per_token
        self._clock_us = clock_us
        self._by_grant: dict[Grant, dict[int, ActiveSubscription]] = {}
        self._expiring: dict[Grant, None] = {}
        self._held: Counter[object] = Counter()
        self.by_format: Counter[str] = Counter(dict.fromkeys(get_args(Format), 0))
        self._count = 0
        self._changed = False
        self._numbers = count(1)
        # Ids of another hub, or from before a restart, are none of this one.
        self._prefix = f"{token_hex(3)}-"

    def __len__(self) -> int:
        return self._count

    def adopt(self, other: "ActiveSubscriptions") -> None:
        """Take over the authorizer and the limits of `other`; the next `sweep` checks every subscription."""
        self.authorizer = other.authorizer
        self.quotas.adopt(other.quotas)
        for quota in self.quotas:
            quota.subscribers = 0
        for subscription in self.all() if any(self.quotas) else ():
            self.quotas.count_subscription(subscription.request.wanted)
        self.max_subscribers, self.max_per_token = other.max_subscribers, other.max_per_token
        self._changed = True

    def check(self, grant: Grant, wanted: TopicFilter) -> None:
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
        self.quotas.check_subscription(wanted)

    def add(self, subscription: ActiveSubscription) -> None:
        """Register a subscription without checking limits; `sweep` ends it when its grant is no longer valid."""
        grant = subscription.grant
        subscription.number, subscription.since_us = next(self._numbers), self._clock_us()
        self._by_grant.setdefault(grant, {})[subscription.number] = subscription
        if grant.expires_s < inf:
            self._expiring[grant] = None
        self._held[grant.holder] += 1
        self.quotas.count_subscription(subscription.request.wanted)
        self.by_format[subscription.request.format] += 1
        self._count += 1
        _log("a subscription began", subscription)

    def remove(self, subscription: ActiveSubscription) -> None:
        """Remove a subscription that has ended."""
        grant = subscription.grant
        numbered = self._by_grant[grant]
        del numbered[subscription.number]
        if not numbered:
            del self._by_grant[grant]
            self._expiring.pop(grant, None)
        self._held[grant.holder] -= 1
        self.quotas.count_subscription(subscription.request.wanted, -1)
        # A Counter keeps entries of zero, one for each token ever used.
        if not self._held[grant.holder]:
            del self._held[grant.holder]
        self.by_format[subscription.request.format] -= 1
        self._count -= 1
        _log("a subscription ended", subscription)

    @contextmanager
    def hold(self, subscription: ActiveSubscription) -> Iterator[None]:
        """Register a subscription for the duration of the block. Raises the same errors as `check`."""
        self.check(subscription.grant, subscription.request.wanted)
        self.add(subscription)
        try:
            yield
        finally:
            self.remove(subscription)

    def all(self) -> Iterator[ActiveSubscription]:
        """All subscriptions of the moment, but for those that have ended before they are reached."""
        numbers = [(grant, tuple(numbered)) for grant, numbered in self._by_grant.items()]
        for grant, number in ((grant, number) for grant, numbered in numbers for number in numbered):
            if subscription := self._by_grant.get(grant, {}).get(number):
                yield subscription

    def id_of(self, subscription: ActiveSubscription) -> str:
        """Id by which `find` finds the subscription as long as it is active; no hub uses it again."""
        return f"{self._prefix}{subscription.number}"

    def find(self, id: str) -> ActiveSubscription | None:
        """The active subscription with this id, or None."""
        return next((subscription for subscription in self.all() if self.id_of(subscription) == id), None)

    def sweep(self) -> Iterator[None]:
        """End all subscriptions whose grant is no longer valid; yields after each step, so that the caller can pause.

        Checks only grants that expire, unless the authorizer was replaced since the last sweep. Exhaust the iterator:
        the next sweep may not check the rest.
        """
        grants = tuple(self._by_grant if self._changed else self._expiring)
        self._changed = False
        for grant in grants:
            if self._is_valid(grant):
                yield
                continue
            # Copied, and looked up with a default: one may be removed as it is ended, and others end between steps.
            for subscription in tuple(self._by_grant.get(grant, {}).values()):
                subscription.dismiss(GRANT_ENDED)
                yield

    def _is_valid(self, grant: Grant) -> bool:
        # Most tokens never expire, and asking for the time would cost more than all the rest.
        now_s = self._clock_us() / 1e6 if grant.expires_s < inf else 0.0
        return self.authorizer.is_valid(grant, now_s=now_s)


def subscription_fields(subscription: ActiveSubscription) -> Mapping[str, str]:
    """The fields of a subscription in a line of the log."""
    request = subscription.request
    path = LIVE if request.format == "live" else path_of(request.wanted)
    names = {"cursor": request.cursor, "group": request.group}
    return {"client": subscription.client, "path": path, "format": request.format, **names}


def _log(what: str, subscription: ActiveSubscription) -> None:
    # Thousands may begin at once.
    if logger.isEnabledFor(logging.DEBUG):
        logger.debug(what, extra=subscription_fields(subscription))


async def sweep_subscriptions(active: ActiveSubscriptions, interval_s: float) -> None:
    """End subscriptions whose token has expired or is revoked, after each interval, until cancelled."""
    while True:
        await trio.sleep(interval_s)
        for n, _ in enumerate(active.sweep(), 1):
            if n % SWEEP_BATCH == 0:
                await trio.lowlevel.checkpoint()
