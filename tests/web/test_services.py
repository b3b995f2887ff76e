"""Readiness of a hub, and the cost of asking for it."""

import pytest
import trio.testing

from hookbot.errors import Unavailable
from hookbot.log.memory import MemoryLog
from hookbot.log.trusted_clock import TrustedClock
from hookbot.web.services import CHECK_INTERVAL_S, Readiness


class CountedLog(MemoryLog):
    """Counts how often it is checked; it fails when told to."""

    checks, fails = 0, False

    async def probe(self) -> None:
        await trio.lowlevel.checkpoint()
        self.checks += 1
        if self.fails:
            raise Unavailable("the disk is full")


async def test_the_log_is_asked_once_a_second_however_many_want_to_know(autojump_clock: trio.testing.MockClock) -> None:
    log = CountedLog()
    readiness = Readiness(log, lambda: "", TrustedClock())

    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(readiness.check)
    await readiness.check()
    assert log.checks == 1

    autojump_clock.jump(CHECK_INTERVAL_S)
    await readiness.check()
    assert log.checks == 2


async def test_a_log_that_cannot_be_written_is_not_ready_until_it_can(autojump_clock: trio.testing.MockClock) -> None:
    log = CountedLog()
    log.fails = True
    readiness = Readiness(log, lambda: "", TrustedClock())

    for _ in range(10):
        with pytest.raises(Unavailable, match="full"):
            await readiness.check()
    assert log.checks == 1

    log.fails = False
    autojump_clock.jump(CHECK_INTERVAL_S)
    await readiness.check()


async def test_a_router_that_does_not_run_is_not_ready() -> None:
    with pytest.raises(Unavailable, match="router"):
        await Readiness(CountedLog(), lambda: "a router is not running", TrustedClock()).check()


async def test_a_clock_that_jumped_is_not_ready_until_it_agrees_again() -> None:
    wall_us = [0]
    readiness = Readiness(CountedLog(), lambda: "", TrustedClock(lambda: wall_us[0], lambda: 0))

    wall_us[0] = 3600 * 1_000_000
    with pytest.raises(Unavailable, match=r"clock of this machine jumped by \+3600 seconds"):
        await readiness.check()

    wall_us[0] = 0
    await readiness.check()
