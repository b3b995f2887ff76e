"""A hub for tests, in this process."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

from ..access.tokens import make_token
from ..broker.broker import Broker, Start
from ..broker.channels import Entry
from ..hub.config import Config
from ..hub.config_file import ConfigFile
from ..hub.hub import open_hub
from ..hub.secret_store import StoredSecret
from ..protocol.message import Draft, Headers, Message
from ..protocol.topics import TopicFilter
from ..routers import Router
from .routing import make_message

KEY = "the key of a test hub"


class TestHub:
    """A hub that forgets, in this process, on a free port of this machine."""

    __test__ = False  # not a test, whatever pytest thinks of the name

    def __init__(self, url: str, broker: Broker) -> None:
        self.url = url
        """Where it listens, such as ``http://127.0.0.1:40001``."""
        self._broker = broker

    def url_for(self, path: str) -> str:
        """The URL of a path such as ``/pub/jira/`` or ``/sub/jira-project/``, with the token that opens it."""
        scheme, _, host = self.url.partition("://")
        return f"{scheme}://{make_token(KEY, path)}@{host}{quote(path)}"

    async def publish(
        self,
        topic: str,
        body: bytes = b"",
        headers: Headers | Mapping[str, str] = (),
        *,
        verified: str | None = None,
        query: str = "",
    ) -> None:
        """Publish without a request, and without anybody checking."""
        message = make_message(topic, body, headers, verified=verified, query=query)
        await self._broker.publish(Draft(topic, body, message.headers, query, message.verified))

    async def wait_for(self, topic: str, count: int = 1) -> Sequence[Message]:
        """The first `count` messages of a topic, or of everything beneath one that ends in ``/``."""
        messages: list[Message] = []
        with self._broker.subscribe(TopicFilter((topic,)), Start(0)) as subscription:
            while len(messages) < count:
                messages += [item.message for item in await subscription.take() if isinstance(item, Entry)]
        return messages[:count]


@asynccontextmanager
async def open_test_hub(*routers: Router) -> AsyncIterator[TestHub]:
    """A whole hub with these routers, until the block ends."""
    with TemporaryDirectory() as directory:
        config = Config(
            key=StoredSecret(KEY),
            data_dir=Path(directory),
            bind="127.0.0.1:0",
            store="memory:",
            routers=tuple(router.name for router in routers),
            file=ConfigFile(routers={router.name: {"router": _always(router)} for router in routers}),
        )
        async with open_hub(config) as hub:
            yield TestHub(hub.url, hub.broker)


def _always(router: Router) -> Any:
    return lambda: router
