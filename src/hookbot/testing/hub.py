"""A complete hub that runs in the process of the test."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

from ..access.tokens import make_token
from ..broker.broker import Broker
from ..broker.channels import Entry
from ..broker.starts import Start
from ..hub.config import Config
from ..hub.config_file import ConfigFile
from ..hub.hub import open_hub
from ..hub.secret_store import StoredSecret
from ..protocol.message import Draft, Headers, Message
from ..protocol.topics import TopicFilter
from ..routers import Router
from .routing import make_message

KEY = "the key of a test hub"
"""Key of every test hub, for making tokens."""


class TestHub:
    """A hub in this process, with a log in memory, on a free port of 127.0.0.1. Made by `open_test_hub`."""

    # Its name begins with Test, so pytest would collect it.
    __test__ = False

    def __init__(self, url: str, broker: Broker) -> None:
        self.url = url
        """URL of the hub, such as ``http://127.0.0.1:40001``."""
        self._broker = broker

    def url_for(self, path: str) -> str:
        """URL of a path such as ``/pub/jira/`` or ``/sub/jira-project/``, with the token that opens it."""
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
        """Store a message directly, unchecked and without a request. `verified` names the provider that signed it."""
        message = make_message(topic, body, headers, verified=verified, query=query)
        await self._broker.publish(Draft(topic, body, message.headers, query, message.verified))

    async def play(self, messages: Iterable[Message]) -> None:
        """Store messages again, as those of a recording, in their order and with new ids: see `recorded`."""
        for message in messages:
            await self._broker.publish(
                Draft(message.topic, message.body, message.headers, message.query, message.verified)
            )

    async def wait_for(self, topic: str, count: int = 1) -> Sequence[Message]:
        """First `count` messages since the hub started of a topic, or of everything beneath one that ends in ``/``.

        Waits without limit until they are stored: call it within `trio.fail_after`.
        """
        messages: list[Message] = []
        with self._broker.subscribe(TopicFilter((topic,)), Start(0)) as subscription:
            while len(messages) < count:
                messages += [item.message for item in await subscription.take() if isinstance(item, Entry)]
        return messages[:count]


@asynccontextmanager
async def open_test_hub(*routers: Router, sources: Sequence[Mapping[str, Any]] = ()) -> AsyncIterator[TestHub]:
    """A hub that runs these routers until the block ends, and verifies the deliveries of these sources.

    Each of `sources` has the keys of a section ``[[sources]]``: ``topic``, ``provider``, ``secrets`` and others.
    After a crash, the same router object runs again; any other hub makes a new one. Errors of the block, and the
    `ConfigError` for an object that is not a router, are raised in exception groups.
    """
    with TemporaryDirectory() as directory:
        config = Config(
            key=StoredSecret(KEY),
            data_dir=Path(directory),
            bind=("127.0.0.1:0",),
            store="memory:",
            routers=tuple(router.name for router in routers),
            file=ConfigFile(
                # Named in errors.
                Path("sources"),
                sources=sources,
                routers={router.name: {"router": _always(router)} for router in routers},
            ),
        )
        async with open_hub(config) as hub:
            yield TestHub(hub.url, hub.broker)


def _always(router: Router) -> Any:
    # A function, so that each lambda refers to its own router.
    return lambda: router
