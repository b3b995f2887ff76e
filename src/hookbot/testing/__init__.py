"""For the tests of those who write routers. Stable, like `hookbot.routers`.

`route` runs a router without a hub, `open_test_hub` runs it in one, and `signed_delivery` makes what senders send.
"""

import json
import math
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, time
from typing import Any, NamedTuple
from urllib.parse import quote

import trio

from ..access.tokens import make_token
from ..broker.broker import Broker, Start
from ..broker.channels import Entry
from ..hub.config import Config
from ..hub.config_file import ConfigFile
from ..hub.hub import RunningHub, open_hub
from ..hub.secret_store import StoredSecret
from ..protocol.message import Draft, Headers, Message, Verified
from ..protocol.topics import TopicFilter
from ..routers import Router
from ..routers.loading import check, entered
from ..routers.outbox import DraftCollector
from ..routers.watchdog import BLOCKED_S
from ..signatures import SignedRequest, load_provider

__all__ = ["Delivery", "TestHub", "make_message", "open_test_hub", "route", "routed", "signed_delivery"]

KEY = "the key of a test hub"
_ID = "testtest-000000000000001"
_JSON = ("Content-Type", "application/json")

_SAMPLES: dict[str, tuple[dict[str, Any], Headers]] = {
    "github": (
        {
            "ref": "refs/heads/main",
            "after": "1f2e3d4c5b6a798897a6b5c4d3e2f10f1e2d3c4b",
            "deleted": False,
            "commits": [{"id": "1f2e3d4c5b6a798897a6b5c4d3e2f10f1e2d3c4b", "message": "Say hello"}],
            "repository": {"full_name": "acme/app", "name": "app", "html_url": "https://github.com/acme/app"},
            "pusher": {"name": "ann"},
        },
        (_JSON, ("X-GitHub-Event", "push"), ("X-GitHub-Delivery", "0b989ba4-242f-11e5-81e1-c7b6966d2516")),
    ),
    "gitlab": (
        {
            "object_kind": "push",
            "ref": "refs/heads/main",
            "checkout_sha": "1f2e3d4c5b6a798897a6b5c4d3e2f10f1e2d3c4b",
            "user_username": "ann",
            "project": {"path_with_namespace": "acme/web/app", "web_url": "https://gitlab.com/acme/web/app"},
            "commits": [{"id": "1f2e3d4c5b6a798897a6b5c4d3e2f10f1e2d3c4b", "message": "Say hello"}],
        },
        (_JSON, ("X-Gitlab-Event", "Push Hook"), ("X-Gitlab-Event-UUID", "13792a34-cac6-4fda-95a8-c58e00a3954e")),
    ),
    "stripe": (
        {
            "id": "evt_1NG8Du2eZvKYlo2CUI79vXWy",
            "object": "event",
            "type": "invoice.paid",
            "account": "acct_1032D82eZvKYlo2C",
            "livemode": False,
            "data": {"object": {"id": "in_1MtHbELkdIwHu7ixl4OzzPMv", "object": "invoice"}},
        },
        (_JSON,),
    ),
}


class Delivery(NamedTuple):
    """What a sender posts."""

    body: bytes
    headers: Headers


def signed_delivery(
    provider: str, secret: str, body: bytes | None = None, headers: Headers | Mapping[str, str] = ()
) -> Delivery:
    """A delivery signed as the provider does it, now; without a body, a small sample (github, gitlab, stripe).

    Raises `ConfigError` for a provider that does not exist, or that signs with a key only it has.
    """
    sample, sample_headers = _SAMPLES.get(provider, ({}, (_JSON,)))
    given = _pairs(headers)
    names = {name.lower() for name, _ in given}
    request = SignedRequest(
        json.dumps(sample).encode() if body is None else body,
        (*given, *(pair for pair in sample_headers if pair[0].lower() not in names)),
    )
    signed = load_provider(provider).sign(request, secret, now=time())
    return Delivery(signed.body, signed.headers)


def make_message(
    topic: str,
    body: bytes = b"",
    headers: Headers | Mapping[str, str] = (),
    *,
    verified: str | None = None,
    query: str = "",
) -> Message:
    """A message as a hub hands it to a router. `verified`: the provider whose signature the hub has checked."""
    by = Verified(verified, "0") if verified else None
    return Message(topic, body, _pairs(headers), query, by, id=_ID, time_us=int(time() * 1e6))


async def routed(router: Router, message: Message) -> list[Message]:
    """What a router publishes for one message, with headers and all, checked as a hub would check it.

    What the router raises is raised. Raises `ValueError` for a message that the router would not be given, and
    `RuntimeError` for a router that blocks a hub: what takes long belongs into a thread, as in
    ``await trio.to_thread.run_sync(shrink, message.body)``.
    """
    check(router)
    if not TopicFilter(tuple(router.topics)).matches(message.topic):
        raise ValueError(f"{message.topic!r} is none of the topics of this router: {router.topics!r}")
    publisher = DraftCollector(router.name, message)
    async with entered(router), _unblocked(router.name):
        await router.route(message, publisher)
    publisher.close()
    return [
        Message(draft.topic, draft.body, draft.headers, draft.query, draft.verified, draft.hops)
        for draft in publisher.published.values()
    ]


async def route(
    router: Router,
    topic: str,
    body: bytes = b"",
    headers: Headers | Mapping[str, str] = (),
    *,
    verified: str | None = None,
    query: str = "",
) -> list[tuple[str, bytes]]:
    """Topic and body of all that a router publishes for one message; see `make_message` and `routed`."""
    message = make_message(topic, body, headers, verified=verified, query=query)
    return [(published.topic, published.body) for published in await routed(router, message)]


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
            yield _test_hub(hub)


@asynccontextmanager
async def _unblocked(name: str) -> AsyncIterator[None]:
    steps = _Steps()
    trio.lowlevel.add_instrument(steps)
    try:
        await trio.lowlevel.checkpoint()  # a step begins here, whatever the test did before
        yield
        await trio.lowlevel.checkpoint()
    finally:
        trio.lowlevel.remove_instrument(steps)
    if steps.longest_s > BLOCKED_S:
        raise RuntimeError(f"{name} blocked the event loop for {steps.longest_s:.1f} s; use trio.to_thread.run_sync")


class _Steps(trio.abc.Instrument):
    """Measures for how long tasks run without a pause."""

    longest_s = 0.0
    _began = math.inf

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._began = perf_counter()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self.longest_s = max(self.longest_s, perf_counter() - self._began)


def _test_hub(hub: RunningHub) -> TestHub:
    return TestHub(hub.url, hub.broker)


def _always(router: Router) -> Any:
    return lambda: router


def _pairs(headers: Headers | Mapping[str, str]) -> Headers:
    return tuple(headers.items()) if isinstance(headers, Mapping) else tuple(headers)
