"""Time slices: shares of the event loop for tasks that have much to do and wait for nothing, such as routers."""

from time import perf_counter

import trio

TIME_SLICE_S = 0.0008
"""Time after which a task lets the rest of the hub run, as soon as it can: so its turn is over within a millisecond."""


class Line:
    """The tasks that have used up their time slice and wait for the next."""

    def __init__(self) -> None:
        self.length = 0
        """Number of these tasks."""

    async def wait(self) -> None:
        """Let the rest of the hub run."""
        self.length += 1
        try:
            await trio.lowlevel.checkpoint()
        finally:
            self.length -= 1

    async def let_pass(self, taken_s: float) -> None:
        """Let the rest of the hub run until nobody is in line, or they have had the time that the caller has taken."""
        ends = perf_counter() + taken_s
        while self.length and perf_counter() < ends:
            await trio.lowlevel.checkpoint()


class TimeSlice:
    """A task's share of the event loop: a checkpoint each time it is used up, far cheaper than one for each step."""

    def __init__(self, line: Line | None = None) -> None:
        self._line = line or Line()
        self.begin()

    def begin(self) -> None:
        """Begin a new slice, after the rest of the hub has run."""
        self._end = perf_counter() + TIME_SLICE_S

    async def yield_if_over(self) -> None:
        """Yield to the event loop and begin a new slice, if this one is over."""
        if perf_counter() > self._end:
            await self._line.wait()
            self.begin()
