"""Turns: unauthenticated requests begin one at a time in the app, so that they do not keep others waiting."""

from heapq import heapify, heappop, heappush
from itertools import count

import trio

# Steps of the event loop between two of their requests: those that the app takes to begin with one.
STEPS_APART = 3


class Turns:
    """Queue of requests: the next to begin is that whose connection has begun none for the longest time.

    Each connection waits for one at a time. So thousands of HTTP/2 streams, on however many connections, hold up the
    only request of another one by no more than the request that is just beginning.
    """

    def __init__(self) -> None:
        self._taken = False
        self._waiting: list[tuple[float, int, trio.Event]] = []
        self._numbers = count()

    async def wait(self, last_turn_at: float) -> None:
        """Return when it is the turn of a request, given the time of the last one of its connection."""
        if self._taken:
            await self._queue(last_turn_at)
        self._taken = True
        try:
            for _ in range(STEPS_APART):
                await trio.lowlevel.checkpoint()
        finally:
            self._pass_on()

    async def _queue(self, last_turn_at: float) -> None:
        turn = trio.Event()
        # The number decides between connections that have not begun any.
        place = last_turn_at, next(self._numbers), turn
        heappush(self._waiting, place)
        try:
            await turn.wait()
        except trio.Cancelled:
            if turn.is_set():
                self._pass_on()
            else:
                self._waiting.remove(place)
                heapify(self._waiting)
            raise

    def _pass_on(self) -> None:
        self._taken = bool(self._waiting)
        if self._waiting:
            heappop(self._waiting)[2].set()
