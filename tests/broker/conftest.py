from collections.abc import AsyncIterator

import pytest

from hookbot.broker.limits import BrokerLimits
from hookbot.log.contract import Log
from support.consumers import ConsumerHub, WorkingLog, open_hub


@pytest.fixture
def log(each_log: Log) -> Log:
    """Each kind of log."""
    return each_log


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
