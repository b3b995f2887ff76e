"""Limit on the time that a shutdown takes, whatever routers have left running or hold up."""

import atexit
import faulthandler
import logging
import math

# Hypercorn imports it, too, long after the start; its function for the end of the interpreter is not a router's.
import multiprocessing.util  # noqa: F401
import os
import signal
import threading
from collections.abc import Collection
from functools import partial
from time import monotonic
from types import FrameType
from typing import Any

MARGIN_S = 2.0
"""Time after `grace_s` for the rest of a shutdown: positions are saved and the log is closed, on a slow disk, too."""
LEFT_BEHIND_S = 1.5
"""Time that the interpreter has to end when the hub has shut down. It waits for threads and tasks, without a limit."""
# As long as the log needs at most to find out that nobody reads it.
SAYING_S = 1.0
# Code in C that keeps the interpreter to itself, such as a regular expression, keeps it from all of this. (In another
# thread than the main one, it also keeps it from noticing the signal.)
LAST_S = 0.5
# Python's locks wait for 292 years at most.
LONGEST_S = 1e9

logger = logging.getLogger(__package__)


class ShutdownLimit:
    """Limit on the time of a shutdown: when it is over, the process ends at once.

    The log is closed long before that, if the disk is not what hangs: only what routers did is lost.
    """

    def __init__(self) -> None:
        self._others = set(threading.enumerate())
        self._functions = atexit._ncallbacks()
        self._timer: threading.Timer | None = None
        self._deadline = math.inf
        # Open for as long as the process lives. Nobody may read standard error.
        self._nowhere = os.open(os.devnull, os.O_WRONLY)

    def start_at(self, signals: Collection[int], seconds: float) -> None:
        """Start at the first of these signals, even while the event loop is blocked.

        Called within `trio.open_signal_receiver`, whose handlers are still called, and which restores those before.
        """
        for number in signals:
            signal.signal(number, partial(self._start_once, seconds, signal.getsignal(number)))

    def start(self, seconds: float, *, code: int, error: BaseException | None = None) -> None:
        """End the process in so many seconds at most, with this exit code; an `error` to be shown is logged then."""
        if self._timer:
            self._timer.cancel()
        self._deadline = min(self._deadline, monotonic() + min(seconds, LONGEST_S))
        left_s = self._deadline - monotonic()
        self._timer = threading.Timer(left_s, self._exit, [code, error])
        self._timer.daemon = True
        self._timer.start()
        # Its thread is none of Python's, and needs no turn of the interpreter.
        faulthandler.dump_traceback_later(max(left_s, 0) + SAYING_S + LAST_S, exit=True, file=self._nowhere)

    def stop(self) -> None:
        """Set no limit any more, unless the interpreter has something new to wait for when it ends.

        These are threads, and functions that it calls then: that of `multiprocessing` waits for processes.
        """
        if self._timer and not self._has_to_wait():
            self._timer.cancel()
            faulthandler.cancel_dump_traceback_later()

    def start_if_needed(self, seconds: float, *, code: int) -> None:
        """Start if the interpreter has something new to wait for when it ends (`stop`)."""
        if self._has_to_wait():
            self.start(seconds, code=code)

    def _has_to_wait(self) -> bool:
        return bool(self._left_behind()) or atexit._ncallbacks() > self._functions

    def _start_once(self, seconds: float, handler: Any, number: int, frame: FrameType | None) -> None:
        if self._timer is None:
            self.start(seconds, code=1)
        handler(number, frame)

    def _left_behind(self) -> list[str]:
        started = set(threading.enumerate()) - self._others
        return [thread.name for thread in started if not thread.daemon]

    def _exit(self, code: int, error: BaseException | None) -> None:
        # What holds up the process may hold the lock of the log, too.
        saying = threading.Thread(target=self._say, args=[error], daemon=True)
        saying.start()
        saying.join(SAYING_S)
        os._exit(code)

    def _say(self, error: BaseException | None) -> None:
        threads = f", such as the threads {', '.join(sorted(left))}" if (left := self._left_behind()) else ""
        logger.error("the process ends, although not all of its tasks and threads do%s", threads, exc_info=error)
        logging.shutdown()
