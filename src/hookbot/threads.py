"""Threads of the hub itself, a limited number at a time. Trio's own are for routers, which may use up all of them."""

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
