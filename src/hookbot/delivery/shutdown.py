"""Shutdown of a command: the first Ctrl-C lets it finish what is in hand, the second ends it at once."""

import logging
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import trio

from ..errors import sole_error

T = TypeVar("T")

SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
"""A terminal that is closed (SIGHUP) must not leave a command behind that nobody waits for."""

logger = logging.getLogger("hookbot.handling")


class Stop:
    """The word to leave: whether it was said, and how urgently."""

    def __init__(self, everything: trio.CancelScope) -> None:
        self.asked = False
        self._everything = everything
        self._leave: Callable[[], object] = everything.cancel

    @contextmanager
    def gently(self, leave: Callable[[], object]) -> Iterator[None]:
        """Within the block, the first word to leave calls `leave`, which cancels what has no work in hand."""
        previous, self._leave = self._leave, leave
        try:
            yield
        finally:
            self._leave = previous

    async def next_of(self, items: AsyncIterator[T]) -> T | None:
        """The next of the items; None if there is none, or it is time to leave."""
        with trio.CancelScope() as waiting, self.gently(waiting.cancel):
            return None if self.asked else await anext(items, None)
        return None

    def ask(self) -> None:
        """Leave; asked for the second time, at once."""
        leave = self._everything.cancel if self.asked else self._leave
        self.asked = True
        leave()


async def _heed_signals(stop: Stop, task_status: trio.TaskStatus[None]) -> None:
    known = [getattr(signal, name) for name in SIGNALS if hasattr(signal, name)]  # Windows has fewer
    with trio.open_signal_receiver(*(each for each in known if signal.getsignal(each) != signal.SIG_IGN)) as signals:
        task_status.started()
        async for _ in signals:
            if not stop.asked:
                logger.warning("leaving as soon as what is in hand is done; once more to leave at once")
            stop.ask()


def run_until_stopped(main: Callable[[Stop], Awaitable[object]]) -> bool:
    """Run `main`; whether it came to its own end. Raises what it raises, out of groups of one."""

    async def run() -> bool:
        async with trio.open_nursery() as nursery:
            stop = Stop(nursery.cancel_scope)
            await nursery.start(_heed_signals, stop)
            await main(stop)
            nursery.cancel_scope.cancel()
        return not stop.asked

    try:
        return trio.run(run)
    except BaseExceptionGroup as group:
        raise sole_error(group) from None
