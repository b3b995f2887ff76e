import os
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import pytest
import trio

from hookbot.backoff import Backoff
from hookbot.client import Timing
from hookbot.testing import open_test_hub
from hookbot.testing.hub import TestHub
from support.commands import Caller
from support.hubs import ThreadHub


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """Nothing that could be a key or an option, and a data directory that is not there yet."""
    for name in [name for name in os.environ if name.startswith("HOOKBOT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOOKBOT_DATA_DIR", str(tmp_path / "data"))
    return monkeypatch


@pytest.fixture
def directory(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The working directory, empty."""
    environment.chdir(tmp_path)


@pytest.fixture(scope="module")
def thread() -> Iterator[ThreadHub]:
    """A hub in a thread, for commands that are called here."""
    thread = ThreadHub()
    yield thread
    thread.close()


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]) -> Caller:
    """Calls commands here; what they try again, they try again soon."""
    return Caller(monkeypatch, capfdbinary, Timing(backoff=partial(Backoff, 0.02, 0.05)))


@pytest.fixture
async def hub(nursery: trio.Nursery) -> AsyncIterator[TestHub]:
    """A hub, and a deadline for what happens with it."""
    with trio.fail_after(50):
        async with open_test_hub() as hub:
            yield hub
