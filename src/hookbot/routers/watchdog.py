"""The watchdog: a thread that reports a router which blocks the event loop, and with it the whole hub."""

import logging
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from time import monotonic
from types import FrameType

import trio

from .attempts import RetryPolicy
from .supervision import SupervisedRouter

BLOCKED_S = 1.0
INTERVAL_S = 0.5

logger = logging.getLogger(__name__)

_IN_A_ROUTER = (SupervisedRouter._run_once.__code__, RetryPolicy._attempt.__code__)


@contextmanager
def watch(routers: Mapping[str, SupervisedRouter]) -> Iterator[None]:
    """Watch the event loop until the block ends; a router that blocks it is logged with its line of code.

    It wakes the loop once per interval, and costs routers nothing.
    """
    ended = threading.Event()
    watchdog = _Watchdog(routers, trio.lowlevel.current_trio_token(), threading.get_ident(), ended)
    thread = threading.Thread(target=watchdog.run, name="router watchdog", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()


class _Watchdog:
    def __init__(
        self,
        routers: Mapping[str, SupervisedRouter],
        token: trio.lowlevel.TrioToken,
        loop_thread: int,
        ended: threading.Event,
    ) -> None:
        self._routers = routers
        self._token = token
        self._loop_thread = loop_thread
        self._ended = ended

    def run(self) -> None:
        while not self._ended.wait(INTERVAL_S):
            alive = threading.Event()
            asked = monotonic()
            try:
                self._token.run_sync_soon(alive.set)
            except trio.RunFinishedError:
                return
            if not alive.wait(BLOCKED_S):
                self._report(alive, asked)

    def _report(self, alive: threading.Event, asked: float) -> None:
        found = _find_router(sys._current_frames().get(self._loop_thread))
        if found:
            name, place = found
            self._routers[name].stats.blocked += 1
            logger.error("router %s blocks the hub, in %s; move blocking calls to a thread", name, place)
        while not alive.wait(INTERVAL_S):
            if self._ended.is_set():
                return
        if found:
            logger.error("router %s blocked the hub for %.1f s", name, monotonic() - asked)


def _find_router(frame: FrameType | None) -> tuple[str, str] | None:
    """Name of the router whose code the loop runs, and the innermost line of it; None if it runs no router."""
    place = f"{frame.f_code.co_filename}:{frame.f_lineno}, {frame.f_code.co_qualname}" if frame else ""
    while frame:
        if frame.f_code in _IN_A_ROUTER:
            return frame.f_locals["self"].name, place
        frame = frame.f_back
    return None
