"""The clock of the tests."""

import trio
from trio.testing import MockClock

from hookbot.log.trusted_clock import TrustedClock

START_US = 1_700_000_000_000_000


class Clock:
    """Microseconds since 1970. It stands still unless it is told to move, or goes with Trio's clock if it `runs`."""

    def __init__(self, *, runs: bool = False) -> None:
        self.now_us = START_US
        self._began = trio.current_time() if runs else None

    def __call__(self) -> int:
        monotonic_s = 0 if self._began is None else trio.current_time() - self._began
        return self.now_us + int(monotonic_s * 1e6)

    def skip(self, *, days: float = 0, seconds: float = 0) -> None:
        """Move the clock forward."""
        self.now_us += int((days * 86_400 + seconds) * 1e6)


def trusted(wall: Clock) -> TrustedClock:
    """The clock of a hub: this wall clock, as far as Trio's clock confirms it."""
    return TrustedClock(wall, lambda: int(trio.current_time() * 1e6))


async def pass_time(seconds: float) -> None:
    """Let time pass on the mock clock, and everything run that is due in it. A test never waits for real time."""
    assert isinstance(trio.lowlevel.current_clock(), MockClock)
    await trio.sleep(seconds)
