"""Holds: who has a cursor or a group now, and how it is taken away from them."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

from ..errors import Ended
from .consumer_id import ConsumerId

T = TypeVar("T")


class Claim:
    """A key that somebody has, until they let go of it or it is taken away. Made by `Claims.claim`."""

    def __init__(self, key: ConsumerId) -> None:
        self.key = key
        self.ended: Ended | None = None
        self.skip_unwanted: Callable[[], object] = lambda: None
        """Moves the position over what is not of the subscription; set by whoever holds."""
        self._working: set[trio.CancelScope] = set()

    def end(self, reason: Ended) -> None:
        """Take it away, at once and for good."""
        self.ended = reason
        for scope in self._working:
            scope.cancel()

    def check(self) -> None:
        """Raises why it was taken away, if it was."""
        if self.ended:
            raise self.ended

    async def work(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do something as long as it is not taken away; raises why if it is."""
        await trio.lowlevel.checkpoint()
        self.check()
        with trio.CancelScope() as scope:
            self._working.add(scope)
            try:
                return await work()
            finally:
                self._working.discard(scope)
        assert self.ended  # nobody else cancels the scope
        raise self.ended


class Claims:
    """All keys that somebody has."""

    def __init__(self) -> None:
        self._holds: dict[ConsumerId, Claim] = {}
        self._freed = trio.Event()

    def find(self, key: ConsumerId) -> Claim | None:
        """Who has a key."""
        return self._holds.get(key)

    def claim(self, key: ConsumerId) -> Claim:
        """Have a key that nobody has."""
        hold = self._holds[key] = Claim(key)
        return hold

    async def until_free(self, key: ConsumerId) -> None:
        """Wait until nobody has a key."""
        while key in self._holds:
            await self._freed.wait()

    def take_away(self, key: ConsumerId, reason: Ended) -> None:
        """Nobody has the key any more; whoever had it is told why."""
        if hold := self._holds.get(key):
            self.release(hold)
            hold.end(reason)

    def release(self, hold: Claim) -> bool:
        """Let go; returns whether it had not been taken away before."""
        if self._holds.get(hold.key) is not hold:
            return False
        del self._holds[hold.key]
        self._freed.set()
        self._freed = trio.Event()
        return True
