"""Threads of the hub itself, a limited number at a time. Trio's own are for routers, which may use up all of them."""

from time import perf_counter, sleep

import trio
from trio.lowlevel import RunVar


class ThreadLimiter:
    """Limit on the threads for work of one kind: a capacity limiter for each run of Trio, which a call returns."""

    def __init__(self, name: str, threads: int) -> None:
        self._threads = threads
        self._limiter: RunVar[trio.CapacityLimiter] = RunVar(name)

    def __call__(self) -> trio.CapacityLimiter:
        """The limiter of this run, for `trio.to_thread.run_sync`."""
        try:
            return self._limiter.get()
        except LookupError:
            self._limiter.set(trio.CapacityLimiter(self._threads))
            return self._limiter.get()


# As many as Trio has by default: most of what they do waits for a disk or a network.
hub_threads = ThreadLimiter("threads of the hub", 40)


# Less than a turn of the event loop takes when the hub is busy.
SLICE_S = 0.0005


class ThreadSlices:
    """Rests of a thread with much to compute: half of the time, so that the event loop gets the interpreter's lock.

    Only to offer it, with ``sleep(0)``, is not enough: a thread mostly takes it back at once, and the loop would wait
    for the switch interval, 5 ms, each time.
    """

    def __init__(self) -> None:
        self._ends_at = perf_counter() + SLICE_S

    def rest_if_over(self) -> None:
        """Rest if the slice is over."""
        if perf_counter() > self._ends_at:
            sleep(SLICE_S)
            self._ends_at = perf_counter() + SLICE_S
