"""Whose turn it is to run."""

from time import perf_counter

import trio

TURN_S = 0.002
"""For so long a router may go on before the rest of the hub has its turn."""


class TimeSlice:
    """Lets everybody else run as soon as a router has run for long enough; costs next to nothing before that."""

    def __init__(self) -> None:
        self._end = perf_counter() + TURN_S

    async def maybe_end(self) -> None:
        """A checkpoint if the turn is over."""
        if perf_counter() > self._end:
            await trio.lowlevel.checkpoint()
            self._end = perf_counter() + TURN_S
