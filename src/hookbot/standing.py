"""Standing subscriptions: each ends when what it was granted by ends, and there are only so many."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from .authority import Authority, Grant
from .errors import TooManyRequests

RETRY_AFTER_S = 30
GRANT_ENDED = "the token is no longer valid"

End = Callable[[], None]


class Standing:
    """All subscriptions of a hub, by what grants them. None means without limit."""

    def __init__(self, *, max_subscribers: int | None = None, max_per_token: int | None = None) -> None:
        self.max_subscribers = max_subscribers
        self.max_per_token = max_per_token
        self._ends: dict[Grant, dict[object, End]] = {}
        self._count = 0
        self._held: Counter[object] = Counter()

    def __len__(self) -> int:
        return self._count

    def check(self, grant: Grant) -> None:
        """Raises `TooManyRequests` if there is no room for one more."""
        if self.max_subscribers is not None and self._count >= self.max_subscribers:
            raise TooManyRequests("this hub has all the subscribers that it takes", retry_after_s=RETRY_AFTER_S)
        if self.max_per_token is not None and self._held[grant.holder] >= self.max_per_token:
            raise TooManyRequests("this token has all the subscribers that it may", retry_after_s=RETRY_AFTER_S)

    def add(self, grant: Grant, key: object, end: End) -> None:
        """A subscription begins; `end` is for when its grant does."""
        self._ends.setdefault(grant, {})[key] = end
        self._held[grant.holder] += 1
        self._count += 1

    def remove(self, grant: Grant, key: object) -> None:
        """A subscription is over."""
        ends = self._ends[grant]
        del ends[key]
        if not ends:
            del self._ends[grant]
        self._held[grant.holder] -= 1
        if not self._held[grant.holder]:
            del self._held[grant.holder]
        self._count -= 1

    @contextmanager
    def stand(self, grant: Grant, end: End) -> Iterator[None]:
        """A subscription that lasts as long as the block; raises `TooManyRequests`."""
        self.check(grant)
        key = object()
        self.add(grant, key, end)
        try:
            yield
        finally:
            self.remove(grant, key)

    def over(self, authority: Authority, *, now_s: float) -> Sequence[End]:
        """Ends what is no longer granted, each when it is called; again, those that take their time to end."""
        gone = [ends for grant, ends in self._ends.items() if not authority.stands(grant, now_s=now_s)]
        return [end for ends in gone for end in ends.values()]
