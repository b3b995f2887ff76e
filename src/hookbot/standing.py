"""Standing subscriptions: each ends when what it was granted by ends, and there are only so many."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .authority import Authority, Grant
from .errors import TooManyRequests

RETRY_AFTER_S = 30
GRANT_ENDED = "the token is no longer valid"

End = Callable[[], None]


class Standing:
    """All subscriptions of a hub, by what grants them."""

    def __init__(self, *, max_subscribers: int | None = None, max_per_token: int | None = None) -> None:
        self._max_subscribers = max_subscribers
        self._max_per_token = max_per_token
        self._ends: dict[Grant, dict[object, End]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def check(self, grant: Grant) -> None:
        """Raises `TooManyRequests` if there is no room for one more."""
        if self._max_subscribers is not None and self._count >= self._max_subscribers:
            raise TooManyRequests("this hub has all the subscribers that it takes", retry_after_s=RETRY_AFTER_S)
        if self._max_per_token is not None and len(self._ends.get(grant, ())) >= self._max_per_token:
            raise TooManyRequests("this token has all the subscribers that it may", retry_after_s=RETRY_AFTER_S)

    def add(self, grant: Grant, key: object, end: End) -> None:
        """A subscription begins; `end` is called when its grant does."""
        self._ends.setdefault(grant, {})[key] = end
        self._count += 1

    def remove(self, grant: Grant, key: object) -> None:
        """A subscription is over."""
        ends = self._ends[grant]
        del ends[key]
        self._count -= 1
        if not ends:
            del self._ends[grant]

    @contextmanager
    def stand(self, grant: Grant, end: End) -> Iterator[None]:
        """A subscription that lasts as long as the block."""
        key = object()
        self.add(grant, key, end)
        try:
            yield
        finally:
            self.remove(grant, key)

    def sweep(self, authority: Authority, *, now_s: float) -> None:
        """End what is no longer granted."""
        for grant, ends in tuple(self._ends.items()):
            if not authority.stands(grant, now_s=now_s):
                for end in tuple(ends.values()):
                    end()
