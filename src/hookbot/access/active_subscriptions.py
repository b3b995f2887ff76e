"""Standing subscriptions: each ends when what it was granted by ends, and there are only so many."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf

from ..errors import TooManyRequests, Unauthorized
from .authorizer import Grant

RETRY_AFTER_S = 30
GRANT_ENDED = "the token is no longer valid"

End = Callable[[], None]


class ActiveSubscriptions:
    """All subscriptions of a hub, by what grants them. None means without limit."""

    def __init__(self, *, max_subscribers: int | None = None, max_per_token: int | None = None) -> None:
        self.max_subscribers = max_subscribers
        self.max_per_token = max_per_token
        self.is_granted: Callable[[Grant], bool] = lambda grant: True
        """Whether what was granted still is; the gate knows."""
        self._ends: dict[Grant, dict[object, End]] = {}
        self._expiring: dict[Grant, None] = {}
        self._held: Counter[object] = Counter()
        self._count = 0
        self._changed = False

    def __len__(self) -> int:
        return self._count

    def check(self, grant: Grant) -> None:
        """Raises `TooManyRequests` if there is no room for one more, `Unauthorized` if its grant has ended."""
        if not self.is_granted(grant):
            raise Unauthorized
        if self.max_subscribers is not None and self._count >= self.max_subscribers:
            raise TooManyRequests("this hub has all the subscribers that it takes", retry_after_s=RETRY_AFTER_S)
        if self.max_per_token is not None and self._held[grant.holder] >= self.max_per_token:
            raise TooManyRequests("this token has all the subscribers that it may", retry_after_s=RETRY_AFTER_S)

    def add(self, grant: Grant, key: object, end: End) -> None:
        """A subscription begins; `end` is for when its grant does."""
        self._ends.setdefault(grant, {})[key] = end
        if grant.expires_s < inf:
            self._expiring[grant] = None
        self._held[grant.holder] += 1
        self._count += 1

    def remove(self, grant: Grant, key: object) -> None:
        """A subscription is over."""
        ends = self._ends[grant]
        del ends[key]
        if not ends:
            del self._ends[grant]
            self._expiring.pop(grant, None)
        self._held[grant.holder] -= 1
        if not self._held[grant.holder]:
            del self._held[grant.holder]
        self._count -= 1

    @contextmanager
    def stand(self, grant: Grant, end: End) -> Iterator[None]:
        """A subscription that lasts as long as the block; raises as `check` does."""
        self.check(grant)
        key = object()
        self.add(grant, key, end)
        try:
            yield
        finally:
            self.remove(grant, key)

    def review(self) -> None:
        """Keys, or what else grants, have changed: the next `over` looks at every subscription."""
        self._changed = True

    def over(self) -> Iterator[End | None]:
        """What ends the subscriptions that are no longer granted, to be called; None for others that were looked at.

        Without a change, only what expires is looked at. The caller may let others run in between.
        """
        grants = tuple(self._ends if self._changed else self._expiring)
        self._changed = False
        for grant in grants:
            if self.is_granted(grant):
                yield None
            else:
                yield from tuple(self._ends.get(grant, {}).values())
