"""Shutdown of a command: the first Ctrl-C lets it finish the messages in hand, the second ends it at once."""

import logging
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import trio

from ..errors import sole_error

T = TypeVar("T")

SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
"""Signals that end a command; also SIGHUP, as closing a terminal must not leave the commands that it runs behind."""

logger = logging.getLogger(__package__)


class Stop:
    """Requests to stop a command. The first sets `asked`; the second cancels everything.

    Outside of `gently`, the first one cancels everything, too.
    """

    def __init__(self, everything: trio.CancelScope) -> None:
        self.asked = False
        self._everything = everything
        self._leave: Callable[[], object] = everything.cancel

    @contextmanager
    def gently(self, leave: Callable[[], object]) -> Iterator[None]:
        """Within the block, the first request calls `leave`, which should cancel only tasks without work in hand.

        If the first request was made before, `leave` is not called.
        """
        previous, self._leave = self._leave, leave
        try:
            yield
        finally:
            self._leave = previous

    async def next_of(self, items: AsyncIterator[T]) -> T | None:
        """The next item, or None at the end of the items or after a request to stop."""
        with trio.CancelScope() as waiting, self.gently(waiting.cancel):
            return None if self.asked else await anext(items, None)
        return None

    def ask(self) -> None:
        """Request to stop: gently at the first call, at once at any further one."""
        leave = self._everything.cancel if self.asked else self._leave
        self.asked = True
        leave()


async def _heed_signals(stop: Stop, task_status: trio.TaskStatus[None]) -> None:
    # Windows has no SIGHUP.
    known = [getattr(signal, name) for name in SIGNALS if hasattr(signal, name)]
    # A signal that the parent ignores stays ignored: nohup ignores SIGHUP, a shell SIGINT for background jobs.
    with trio.open_signal_receiver(*(each for each in known if signal.getsignal(each) != signal.SIG_IGN)) as signals:
        task_status.started()
        async for _ in signals:
            if not stop.asked:
                logger.warning("stopping once what has begun is finished; a second Ctrl-C or SIGTERM stops at once")
            stop.ask()


def run_until_stopped(main: Callable[[Stop], Awaitable[object]]) -> bool:
    """Run `main`, and return True if it ended without a request to stop.

    A single exception is raised without its exception group.
    """

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
