from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hookbot.broker.limits import BrokerLimits
from hookbot.log.contract import Log
from hookbot.log.memory import MemoryLog
from hookbot.log.sqlite import open_sqlite_log
from support.consumers import ConsumerHub, WorkingLog, open_hub


@pytest.fixture(params=["memory", "sqlite"])
async def log(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Log]:
    """Each kind of log."""
    if request.param == "memory":
        yield MemoryLog()
    else:
        async with open_sqlite_log(tmp_path) as log:
            yield log


@pytest.fixture
async def hub(log: Log) -> AsyncIterator[ConsumerHub]:
    """A hub on each kind of log."""
    async with open_hub(log) as hub:
        yield hub


@pytest.fixture
def limits() -> BrokerLimits:
    """Limits of `memory_hub`: for tests to override."""
    return BrokerLimits()


@pytest.fixture
async def memory_hub(limits: BrokerLimits) -> AsyncIterator[ConsumerHub]:
    """A hub whose log can be made to fail."""
    async with open_hub(WorkingLog(), limits=limits) as hub:
        yield hub
