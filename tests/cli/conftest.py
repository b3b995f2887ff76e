import os

import pytest
import trio

from hookbot import backoff
from hookbot.testing import open_test_hub
from support.commands import Caller
from support.hubs import ThreadHub


@pytest.fixture
def environment(monkeypatch, tmp_path):
    """Nothing that could be a key or an option, and a data directory that is not there yet."""
    for name in [name for name in os.environ if name.startswith("HOOKBOT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOOKBOT_DATA_DIR", str(tmp_path / "data"))
    return monkeypatch


@pytest.fixture
def directory(environment, tmp_path):
    """The working directory, empty."""
    environment.chdir(tmp_path)


@pytest.fixture(scope="module")
def thread():
    """A hub in a thread, for commands that are called here."""
    thread = ThreadHub()
    yield thread
    thread.close()


@pytest.fixture
def call(monkeypatch, capfdbinary):
    """Calls commands here; what they try again, they try again soon."""
    monkeypatch.setattr(backoff, "SHORTEST_S", 0.02)
    monkeypatch.setattr(backoff, "LONGEST_S", 0.05)
    return Caller(monkeypatch, capfdbinary)


@pytest.fixture
async def hub(nursery):
    """A hub, and a deadline for what happens with it."""
    with trio.fail_after(50):
        async with open_test_hub() as hub:
            yield hub
