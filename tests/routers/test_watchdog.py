"""The watchdog: a router that blocks the event loop is reported."""

import logging
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any

import pytest
import trio

from hookbot.broker.broker import Broker
from hookbot.protocol.message import Message
from hookbot.routers import Publish, Router
from hookbot.routers.attempts import RouterLimits
from hookbot.routers.supervision import SupervisedRouter
from hookbot.routers.watchdog import _Watchdog, find_router, watch
from support import GUARD_S

logger = logging.getLogger("hookbot.routers")


class Reports(logging.Handler):
    """The reports of the watchdog: that the loop is blocked, and that it is no longer."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.blocked = threading.Event()
        self.over = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())
        (self.over if self.blocked.is_set() else self.blocked).set()


@pytest.fixture
def reports() -> Iterator[Reports]:
    handler = Reports()
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


class Blocking:
    """Blocks the loop until that is reported."""

    name = "blocking"
    topics: Sequence[str] = ("in/",)

    def __init__(self, reports: Reports) -> None:
        self.reports = reports

    async def route(self, message: Message, publish: Publish) -> None:
        assert self.reports.blocked.wait(GUARD_S)
        await publish("out", message)


class BlockingChild(Blocking):
    """Blocks the loop in a task that it starts."""

    async def route(self, message: Message, publish: Publish) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(super().route, message, publish)


class InAThread:
    """Works in a thread, where it looks for the router that the loop is in."""

    name = "patient"
    topics: Sequence[str] = ("in/",)

    async def route(self, message: Message, publish: Publish) -> None:
        found = await trio.to_thread.run_sync(self.look, trio.lowlevel.current_root_task())
        await publish("out", found.encode())

    def look(self, root: trio.lowlevel.Task | None) -> str:
        # The loop has left the router once it does anything else.
        trio.from_thread.run_sync(lambda: None)
        return find_router(root)


@asynccontextmanager
async def watched(broker: Broker, router: Router) -> AsyncIterator[SupervisedRouter]:
    """A router that runs and is watched."""

    async def make() -> Router:
        return router

    await broker.commit([], cursors={f"router/{router.name}": broker.head})
    supervised = SupervisedRouter(broker, router.name, make, RouterLimits(), broker.head)
    with watch({router.name: supervised}, blocked_s=0.1, interval_s=0.01):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(supervised.run)
            yield supervised
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("kind", [Blocking, BlockingChild])
async def test_a_router_that_blocks_the_loop_is_named_with_the_place(
    hub: Any, reports: Reports, kind: type[Blocking]
) -> None:
    async with watched(hub.broker, kind(reports)) as router:
        await hub.publish("in/1")
        await hub.wait_for("out")
        # The watchdog's thread says no more after this.
        assert await trio.to_thread.run_sync(reports.over.wait, GUARD_S)

    assert router.stats.blocked == 1
    assert "router blocking blocks the hub" in reports.texts[0]
    assert "Blocking.route" in reports.texts[0] or "threading.py:" in reports.texts[0]


async def test_when_the_loop_runs_again_it_is_said_for_how_long_it_did_not(hub: Any, reports: Reports) -> None:
    async with watched(hub.broker, Blocking(reports)):
        await hub.publish("in/1")
        await hub.wait_for("out")
        assert await trio.to_thread.run_sync(reports.over.wait, GUARD_S)

    assert "router blocking blocked the hub for " in reports.texts[1]


async def test_a_router_that_works_in_a_thread_is_not_blamed(hub: Any) -> None:
    async with watched(hub.broker, InAThread()):
        await hub.publish("in/1")
        [found] = await hub.wait_for("out")

    assert found.body == b""


@pytest.mark.slow
async def test_a_hub_that_is_blocked_by_something_else_blames_no_router(hub: Any, reports: Reports) -> None:
    async with watched(hub.broker, InAThread()) as router:
        time.sleep(0.3)

    assert router.stats.blocked == 0
    assert reports.texts == []


async def test_a_loop_that_answers_in_time_is_asked_again_until_the_end(reports: Reports) -> None:
    class ThirdWait(threading.Event):
        """An event that is set while it is waited for the third time."""

        waits = 0

        def wait(self, timeout: float | None = None) -> bool:
            self.waits += 1
            return self.waits == 3

    ended = ThirdWait()
    await trio.to_thread.run_sync(_Watchdog({}, ended, blocked_s=GUARD_S, interval_s=0).run)

    assert ended.waits == 3
    assert reports.texts == []


def test_the_watchdog_ends_with_the_loop_that_it_watches() -> None:
    async def make() -> _Watchdog:
        return _Watchdog({}, threading.Event(), blocked_s=1, interval_s=0.001)

    watchdog = trio.run(make)

    watchdog.run()


async def test_a_loop_that_ends_while_it_is_blocked_is_not_waited_for(reports: Reports) -> None:
    ended = threading.Event()
    ended.set()

    _Watchdog({}, ended, blocked_s=0, interval_s=0.001)._report(threading.Event(), monotonic())

    assert reports.texts == []
