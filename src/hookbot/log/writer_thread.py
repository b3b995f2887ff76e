"""The thread that writes to the log on disk.

A thread for each write would cost more than the write: the event loop wakes this one once for each, and is woken once.
"""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from threading import Thread

import trio

from ..callbacks import Callback, T


class WriterThread:
    """Thread that does one work after another, in order, until it is stopped."""

    def __init__(self, loop: trio.lowlevel.TrioToken) -> None:
        self._loop = loop
        self._works: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        # A loop that ends without stopping it must not keep the process alive.
        self._thread = Thread(target=self._run, name="hookbot-log", daemon=True)
        self._thread.start()

    def start(self, work: Callable[[], T], done: Callback[T]) -> None:
        """Queue work; the loop calls `done` with its result or error."""
        self._works.put(partial(self._do, work, done))

    def stop(self) -> None:
        """End the thread after all work that is queued, and wait for that. To be called from another thread."""
        self._works.put(None)
        self._thread.join()

    def _run(self) -> None:
        while do := self._works.get():
            do()

    def _do(self, work: Callable[[], T], done: Callback[T]) -> None:
        result: T | Exception
        try:
            result = work()
        # Whoever waits for it raises it.
        except Exception as error:  # noqa: BLE001
            result = error
        # If the loop has ended, nobody waits any more.
        with suppress(trio.RunFinishedError):
            self._loop.run_sync_soon(done, result)
