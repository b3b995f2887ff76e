"""A router run for one message, without a hub."""

import math
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from time import perf_counter, time

import trio

from ..protocol.message import Headers, Message, Verified
from ..protocol.topics import TopicFilter
from ..routers import Router
from ..routers.loading import check, entered
from ..routers.outbox import DraftCollector
from ..routers.watchdog import BLOCKED_S
from .deliveries import header_pairs

_ID = "testtest-000000000000001"


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
    return Message(topic, body, header_pairs(headers), query, by, id=_ID, time_us=int(time() * 1e6))


async def routed(router: Router, message: Message) -> list[Message]:
    """Messages that a router publishes for one message, with headers and all, checked as a hub would check them.

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
