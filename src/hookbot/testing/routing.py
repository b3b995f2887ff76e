"""Runs of a router for one message, without a hub."""

import math
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from time import perf_counter, time

import trio

from ..errors import describe
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
    """Message as a router receives it, always with the same id. `verified` names the provider that signed it."""
    by = Verified(verified, "0", source=topic) if verified else None
    return Message(topic, body, header_pairs(headers), query, by, id=_ID, time_us=int(time() * 1e6))


async def routed(router: Router, message: Message, *, blocked_s: float = BLOCKED_S) -> list[Message]:
    """Messages that a router publishes for one message, in order, checked as in a hub; they have no id and no time.

    Errors of the router are raised as they are, without another attempt; one that would end the process, like
    `SystemExit`, as `RuntimeError`. Raises `ConfigError` if `router` is not a router, `ValueError` if it does not
    subscribe to the message's topic, and `RuntimeError` if its `route` blocks the event loop for more than `blocked_s`
    seconds. Run slow code in a thread: ``await trio.to_thread.run_sync(shrink, message.body)``.
    """
    check(router)
    if not TopicFilter(tuple(router.topics)).matches(message.topic):
        raise ValueError(f"{message.topic!r} is not among the topics of the router {router.name}: {router.topics!r}")
    publisher = DraftCollector(router.name, message)
    async with entered(router), _unblocked(router.name, blocked_s):
        await _route(router, message, publisher)
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
    """Topic and body of each message that a router publishes for one message; see `make_message` and `routed`."""
    message = make_message(topic, body, headers, verified=verified, query=query)
    return [(published.topic, published.body) for published in await routed(router, message)]


# A Ctrl-C is not raised within.
@trio.lowlevel.enable_ki_protection
async def _route(router: Router, message: Message, publisher: DraftCollector) -> None:
    try:
        await router.route(message, publisher)
    except (SystemExit, KeyboardInterrupt, GeneratorExit) as error:
        raise RuntimeError(f"the router {router.name} raised {describe(error)}") from error


@asynccontextmanager
async def _unblocked(name: str, blocked_s: float) -> AsyncIterator[None]:
    steps = _Steps()
    trio.lowlevel.add_instrument(steps)
    try:
        # A step ends at a checkpoint: the work of the test before and after the router is not part of its steps.
        await trio.lowlevel.checkpoint()
        yield
        await trio.lowlevel.checkpoint()
    finally:
        trio.lowlevel.remove_instrument(steps)
    if steps.longest_s > blocked_s:
        raise RuntimeError(
            f"the router {name} blocked the event loop for {steps.longest_s:.1f} s: use trio.to_thread.run_sync"
        )


class _Steps(trio.abc.Instrument):
    """Longest time for which any task has run without a checkpoint."""

    longest_s = 0.0
    _began = math.inf

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._began = perf_counter()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self.longest_s = max(self.longest_s, perf_counter() - self._began)
