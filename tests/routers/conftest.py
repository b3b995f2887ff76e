from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from hookbot.broker.broker import Broker, open_broker
from hookbot.broker.channels import Entry
from hookbot.log.memory import MemoryLog
from hookbot.protocol.message import Draft, Message
from hookbot.protocol.topics import TopicFilter
from hookbot.routers.attempts import RouterLimits
from hookbot.routers.runner import Routers, RouterSpec, open_routers

JIRA = """
class Jira:
    name = "jira"
    topics = ("jira/",)
    def __init__(self, ignore: str = "") -> None:
        self.ignore = ignore
    async def route(self, message, publish):
        await publish("copy", message)
"""


@pytest.fixture
def log() -> MemoryLog:
    return MemoryLog()


@pytest.fixture
async def broker(log: MemoryLog) -> AsyncIterator[Broker]:
    async with open_broker(log) as broker:
        yield broker


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file with one router, which copies what it reads beneath ``jira/``."""
    path = tmp_path / "jira.py"
    path.write_text(JIRA)
    return path


@pytest.fixture
def hub(broker: Broker) -> "Hub":
    return Hub(broker)


class Hub:
    """Routers over a broker, and what one sees of them from outside."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker

    def run(self, **routers: Any) -> AbstractAsyncContextManager[Routers]:
        return open_routers(self.broker, [_spec(name, router) for name, router in routers.items()], str)

    async def publish(self, topic: str, body: bytes = b"", **fields: Any) -> Message:
        message = await self.broker.publish(Draft(topic, body, **fields))
        assert isinstance(message, Message)
        return message

    async def wait_for(self, topic: str, count: int = 1) -> list[Message]:
        """The first `count` messages of a topic or subtree, as soon as they are there."""
        found: list[Message] = []
        with self.broker.subscribe(TopicFilter((topic,))) as subscription:
            subscription.position = 0
            while len(found) < count:
                found += [item.message for item in await subscription.take() if isinstance(item, Entry)]
        return found

    async def stored(self, topic: str) -> list[Message]:
        page = await self.broker.log.read(TopicFilter((topic,)), after=0, limit=100_000, max_bytes=1 << 30)
        return list(page.messages)


def _spec(name: str, router: Any) -> RouterSpec:
    make, limits = router if isinstance(router, tuple) else (router, RouterLimits())
    return RouterSpec(name, make if callable(make) else lambda: make, limits=limits)
