from collections.abc import AsyncIterator, Iterator
from functools import partial
from importlib import import_module
from pathlib import Path

import pytest
import trio

from hookbot.backoff import Backoff
from hookbot.cli.main import COMMANDS
from hookbot.client import Timing
from hookbot.testing import open_test_hub
from hookbot.testing.hub import TestHub
from support.commands import Caller
from support.hubs import ThreadHub

# A command is imported when it is called. Here it is at once, so that no test is the one that executes its definitions
# and coverage by a module's own tests is the same in any order.
for _place, _ in COMMANDS.values():
    import_module(f"hookbot.cli.{_place.partition(':')[0]}")


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """The environment, with a data directory that does not exist yet."""
    monkeypatch.setenv("HOOKBOT_DATA_DIR", str(tmp_path / "data"))
    return monkeypatch


@pytest.fixture
def directory(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The working directory, empty."""
    environment.chdir(tmp_path)


@pytest.fixture(scope="module")
def thread() -> Iterator[ThreadHub]:
    """A hub in a thread, for commands that are called here."""
    with ThreadHub() as thread:
        yield thread


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]) -> Caller:
    """Calls commands in this process, with short delays between their attempts."""
    return Caller(monkeypatch, capfdbinary, Timing(backoff=partial(Backoff, 0.02, 0.05)))


@pytest.fixture
def topic(request: pytest.FixtureRequest) -> str:
    """A topic for each test, since the hub in the thread is shared."""
    name: str = request.node.name
    return name.replace("[", "-").replace("]", "")[:80]


@pytest.fixture
def sub(thread: ThreadHub, topic: str) -> str:
    """URL to subscribe to the topic of the test."""
    return thread.url_for(f"/sub/{topic}")


@pytest.fixture
def pub(thread: ThreadHub, topic: str) -> str:
    """URL to publish to the topic of the test."""
    return thread.url_for(f"/pub/{topic}")


@pytest.fixture
async def hub(nursery: trio.Nursery) -> AsyncIterator[TestHub]:
    """A hub, and a deadline for what happens with it."""
    with trio.fail_after(50):
        async with open_test_hub() as hub:
            yield hub
