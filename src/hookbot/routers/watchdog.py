"""The watchdog: a thread that reports a router that blocks the event loop, and with it the whole hub."""

import logging
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from time import monotonic

import trio

from .runs import ROUTER
from .supervision import SupervisedRouter

# While a router blocks the loop, nothing is published or delivered; subscribers notice a pause of this length.
BLOCKED_S = 1.0
INTERVAL_S = 0.5

logger = logging.getLogger(__package__)


@contextmanager
def watch(
    routers: Mapping[str, SupervisedRouter], *, blocked_s: float = BLOCKED_S, interval_s: float = INTERVAL_S
) -> Iterator[None]:
    """Watch the event loop until the block ends; a router that blocks it for `blocked_s` is logged with its line.

    The loop is woken every `interval_s`. Must be called in its thread.
    """
    ended = threading.Event()
    watchdog = _Watchdog(routers, ended, blocked_s, interval_s)
    thread = threading.Thread(target=watchdog.run, name="router watchdog", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()


class _Watchdog:
    """Watches the event loop of the thread that creates it; `run` is for a thread of its own."""

    def __init__(
        self, routers: Mapping[str, SupervisedRouter], ended: threading.Event, blocked_s: float, interval_s: float
    ) -> None:
        self._routers = routers
        self._token = trio.lowlevel.current_trio_token()
        self._root = trio.lowlevel.current_root_task()
        self._loop_thread = threading.get_ident()
        self._ended = ended
        self._blocked_s = blocked_s
        self._interval_s = interval_s

    def run(self) -> None:
        while not self._ended.wait(self._interval_s):
            alive = threading.Event()
            asked = monotonic()
            try:
                self._token.run_sync_soon(alive.set)
            except trio.RunFinishedError:
                return
            if not alive.wait(self._blocked_s):
                self._report(alive, asked)

    def _report(self, alive: threading.Event, asked: float) -> None:
        # The loop may be busy elsewhere at first, and in a router later.
        name = self._blame()
        while not alive.wait(self._interval_s):
            if self._ended.is_set():
                return
            name = name or self._blame()
        if name:
            logger.error("router %s blocked the hub for %.1f s", name, monotonic() - asked)

    def _blame(self) -> str | None:
        """Name of the router that the loop is in now, which is counted and logged; None if it is in none."""
        name = find_router(self._root)
        if name not in self._routers:
            return None
        frame = sys._current_frames()[self._loop_thread]
        place = f"{frame.f_code.co_filename}:{frame.f_lineno}, {frame.f_code.co_qualname}"
        self._routers[name].stats.blocked += 1
        logger.error("router %s blocks the hub, in %s; move blocking calls to a thread", name, place)
        return name


def find_router(root: trio.lowlevel.Task | None) -> str:
    """Name of the router that the running task belongs to, found beneath the root task; empty if it is no router's."""
    tasks = [root] if root else []
    while tasks:
        task = tasks.pop()
        if getattr(task.coro, "cr_running", False):
            return task.context.get(ROUTER, "")
        # Copied, since the loop may go on meanwhile.
        tasks += [child for nursery in list(task.child_nurseries) for child in list(nursery.child_tasks)]
    return ""
