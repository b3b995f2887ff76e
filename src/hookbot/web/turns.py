"""Turns: costly work that clients make the app do is done one by one, so that others do not wait for all of it."""

from heapq import heappop, heappush
from itertools import count

import trio

from ..access.senders import Standing


class Turns:
    """Queue of connections for one kind of work, of which each does a small part at a time.

    The next is, of those with the best standing, that which has had no turn for the longest time. So thousands of
    HTTP/2 streams, on however many connections, hold up the only request of another one by no more than the request
    that is just beginning.
    """

    def __init__(self, steps_apart: int) -> None:
        self._steps_apart = steps_apart
        """Steps of the event loop between two turns."""
        self._taken = False
        self._queue: list[tuple[int, float, int]] = []
        """Standing (the best is the lowest), time of the last turn, and a number, of each connection that waits, and of
        some that have given up."""
        self._waiting: dict[int, trio.Event] = {}
        """Events that are set when it is the turn of a connection, by its number."""
        self._numbers = count()

    async def wait(self, standing: Standing, last_turn_at: float) -> None:
        """Return when it is the turn of a connection, given the time of its last one."""
        if self._taken:
            await self._wait_in_queue(standing, last_turn_at)
        self._taken = True
        try:
            for _ in range(self._steps_apart):
                await trio.lowlevel.checkpoint()
        finally:
            self._pass_on()

    async def _wait_in_queue(self, standing: Standing, last_turn_at: float) -> None:
        # The number decides between connections that have had none.
        number, turn = next(self._numbers), trio.Event()
        heappush(self._queue, (-standing, last_turn_at, number))
        self._waiting[number] = turn
        try:
            await turn.wait()
        except trio.Cancelled:
            # Searching the queue for it would take long when thousands give up at once.
            if self._waiting.pop(number, None) is None:
                self._pass_on()
            raise

    def _pass_on(self) -> None:
        while self._queue:
            *_, number = heappop(self._queue)
            if (turn := self._waiting.pop(number, None)) is not None:
                turn.set()
                return
        self._taken = False
