"""Fair turns: however many costly requests one client sends at once, others wait for one of them."""

from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary

import trio


class FairTurns:
    """One turn at a time, for which only one request of each holder waits beside those of others."""

    def __init__(self) -> None:
        self._turn = trio.Lock()
        self._own: WeakValueDictionary[Hashable, trio.Lock] = WeakValueDictionary()
        """Locks of the holders whose requests wait or have the turn."""

    @asynccontextmanager
    async def of(self, holder: Hashable) -> AsyncIterator[None]:
        """A turn of this holder, until the block ends."""
        async with self._own.setdefault(holder, trio.Lock()), self._turn:
            yield
