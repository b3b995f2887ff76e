"""The clock of a hub: the wall clock of the machine, believed only as far as its monotonic clock confirms it.

A wall clock may jump: somebody sets it, a time server is wrong, a virtual machine is resumed. A monotonic
clock never does. As long as both agree, the hub goes by the wall clock. When they disagree, it goes on by the monotonic
one, until the wall clock has run steadily for `STEADY_US`: then the jump is believed, and new messages bear the new
time. Ages are always measured by the monotonic clock (`TrustedClock.ago_us`), so that no jump, believed or not, makes
anything older than it is.
"""

import logging
import time
from bisect import bisect_right
from collections import deque
from collections.abc import Callable
from itertools import islice
from operator import itemgetter
from threading import Lock

from ..protocol.message import wall_clock_us

# Time servers correct a second at once, and slow a clock down or speed it up by at most a tenth: a minute in ten.
TOLERANCE_US = 60_000_000
STEADY_US = 600_000_000
"""Time for which the wall clock has to run steadily before a jump is believed: longer than a wrong time usually lasts,
and short enough for a machine that was suspended."""

CREPT_US = 1_000_000
"""Difference from which a clock that has crept ahead is remembered as if it had jumped."""

# A bound on the memory for a clock that never stops jumping; each jump takes ten minutes, so this is a week.
MAX_JUMPS = 1000

# Only Linux has it.
_BOOT_TIME = getattr(time, "CLOCK_BOOTTIME", None)

logger = logging.getLogger(__package__)


def monotonic_us() -> int:
    """Time of the monotonic clock, in microseconds; on Linux it goes on while the machine is suspended."""
    return (time.monotonic_ns() if _BOOT_TIME is None else time.clock_gettime_ns(_BOOT_TIME)) // 1000


class TrustedClock:
    """Clock to call for the current time in microseconds since 1970, from any thread. It starts with the wall clock's.

    It differs from the monotonic clock by at most `TOLERANCE_US` in `STEADY_US`, and by the jumps that it believes.
    Each jump is logged, also if it is not believed.
    """

    def __init__(
        self, wall_us: Callable[[], int] = wall_clock_us, monotonic_us: Callable[[], int] = monotonic_us
    ) -> None:
        self._wall_us = wall_us
        self._monotonic_us = monotonic_us
        self._lock = Lock()
        self._confirmed_at = monotonic_us()
        # An offset is a time less that of the monotonic clock: constant, as long as the clocks agree.
        self._offset = self._seen = self._confirmed = wall_us() - self._confirmed_at
        """Offset of the believed time; the last one of the wall clock; the one from which that may creep away."""
        self._offsets = deque([(self._confirmed_at, self._offset)])
        """Monotonic time, and the lowest offset since, at the start and whenever a jump was believed or the clock had
        crept ahead."""
        self._jumped: tuple[int, int] | None = None
        """Monotonic time at which the wall clock jumped, and its offset since; None while the clocks agree."""
        self._doubtful = False

    @classmethod
    def of(cls, clock_us: Callable[[], int]) -> "TrustedClock":
        """The clock itself, or a clock that believes all that a plain function returns."""
        return clock_us if isinstance(clock_us, TrustedClock) else cls(clock_us, clock_us)

    def __call__(self) -> int:
        with self._lock:
            return self._observe() + self._offset

    @property
    def monotonic_s(self) -> float:
        """Time of the monotonic clock, in seconds, for rate limits."""
        return self._monotonic_us() / 1e6

    @property
    def jump_s(self) -> float:
        """Seconds by which the wall clock is ahead of the believed time, negative if behind; 0 while they agree."""
        with self._lock:
            self._observe()
            return (self._seen - self._offset) / 1e6 if self._jumped else 0.0

    @property
    def possible_s(self) -> tuple[float, ...]:
        """Seconds since 1970: the believed time and, while the wall clock is ahead of it, also what that shows.

        A clock that is behind could make fresh again what has been replayed and forgotten. While the start is in doubt,
        nothing is forgotten, and what the wall clock shows now is as likely as what it showed then.
        """
        with self._lock:
            passed = self._observe()
            believed_s = (passed + self._offset) / 1e6
            if self._jumped and (self._doubtful or self._seen > self._offset):
                return believed_s, (passed + self._seen) / 1e6
        return (believed_s,)

    def ago_us(self, age_us: int) -> int:
        """A time before which the clock has not been since `age_us` ago: only what bears an earlier one is older.

        While the start is in doubt this is 0, and nothing is older.
        """
        with self._lock:
            moment = self._observe() - age_us
            if self._doubtful:
                return 0
            later = bisect_right(self._offsets, moment, key=itemgetter(0))
            # Before the start, the clock is taken to have agreed with what it first showed.
            offset = self._offsets[max(later - 1, 0)][1]
            return min([moment + offset, *(passed + offset for passed, offset in islice(self._offsets, later, None))])

    def check_start(self, newest_us: int) -> None:
        """Doubt the start if the newest message is old: the clock has jumped, or the hub was off.

        The doubt ends when the wall clock has run steadily for `STEADY_US`. `newest_us` is 0 if there is no message.
        """
        self._doubtful = 0 < newest_us < self() - STEADY_US

    def _observe(self) -> int:
        """Compare both clocks, and return the monotonic time."""
        passed = self._monotonic_us()
        seen = self._seen = self._wall_us() - passed
        if abs(seen - self._confirmed) <= TOLERANCE_US:
            self._offset = seen
            since, lowest = self._offsets[-1]
            if seen < lowest:
                self._offsets[-1] = since, seen
            if self._jumped or passed - self._confirmed_at >= STEADY_US:
                self._agree(passed)
        elif self._jumped is None or abs(seen - self._jumped[1]) > TOLERANCE_US:
            self._jump(passed)
        elif passed - self._jumped[0] >= STEADY_US:
            self._believe(passed)
        return passed

    def _agree(self, passed: int) -> None:
        if self._jumped:
            logger.warning("the clock of this machine agrees again with the time that has passed")
        self._jumped = None
        if passed - self._confirmed_at >= STEADY_US:
            self._confirmed, self._confirmed_at, self._doubtful = self._seen, passed, False
            if self._seen - self._offsets[-1][1] >= CREPT_US:
                self._remember(passed)

    def _jump(self, passed: int) -> None:
        if self._jumped is None:
            seconds = (self._seen - self._offset) / 1e6
            logger.warning(
                "the clock of this machine jumped by %+.0f seconds: the hub does not follow until it has run steadily "
                "for ten minutes; check the time service",
                seconds,
            )
        self._jumped = passed, self._seen

    def _believe(self, passed: int) -> None:
        logger.warning("the clock of this machine has run steadily for ten minutes: the hub follows its jump")
        if self._doubtful:
            # Even the first time was in doubt: this one is as likely for what was before.
            start, lowest = self._offsets[0][0], min(offset for _, offset in self._offsets)
            self._offsets = deque([(start, min(lowest, self._seen))])
        self._remember(passed)
        self._offset = self._confirmed = self._seen
        self._confirmed_at, self._jumped, self._doubtful = passed, None, False

    def _remember(self, passed: int) -> None:
        """Remember that the clock has had another offset since."""
        if len(self._offsets) == MAX_JUMPS:
            # The two oldest become one, with which nothing is older than with either.
            (start, first), (_, second) = self._offsets.popleft(), self._offsets.popleft()
            self._offsets.appendleft((start, min(first, second)))
        self._offsets.append((passed, self._seen))
