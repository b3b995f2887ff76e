import pytest

from hookbot.log.memory import MemoryLog
from support.alerts import new_log
from support.clock import Clock


@pytest.fixture
async def wall() -> Clock:
    """A wall clock that goes with the mock clock."""
    return Clock(runs=True)


@pytest.fixture
async def log(wall: Clock) -> MemoryLog:
    return new_log(wall)
