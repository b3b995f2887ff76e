import time
from typing import Any

import pytest
import trio

from hookbot.protocol.message import Message
from hookbot.routers import watchdog
from hookbot.routers.outbox import DraftCollector


class Sleepy:
    name = "sleepy"
    topics = ("in/",)

    async def route(self, message: Message, publish: DraftCollector) -> None:
        time.sleep(0.5)
        await publish("out", message)


class Patient(Sleepy):
    async def route(self, message: Message, publish: DraftCollector) -> None:
        await trio.to_thread.run_sync(time.sleep, 0.5)
        await publish("out", message)


async def test_a_router_that_blocks_the_loop_is_named_with_the_place(
    hub: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchdog, "INTERVAL_S", 0.01)
    monkeypatch.setattr(watchdog, "BLOCKED_S", 0.1)
    async with hub.run(sleepy=Sleepy()) as routers:
        await hub.publish("in/1")
        await hub.wait_for("out")
        [state] = routers.snapshot()

    assert state["blocked"] == 1
    assert "router sleepy blocks the hub" in caplog.text
    assert "test_watchdog.py:" in caplog.text
    assert "Sleepy.route" in caplog.text


async def test_a_router_that_works_in_a_thread_blocks_nothing(
    hub: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchdog, "INTERVAL_S", 0.01)
    monkeypatch.setattr(watchdog, "BLOCKED_S", 0.1)
    async with hub.run(patient=Patient()) as routers:
        await hub.publish("in/1")
        await hub.wait_for("out")
        [state] = routers.snapshot()

    assert state["blocked"] == 0
    assert "blocks the hub" not in caplog.text


async def test_a_hub_that_is_blocked_by_something_else_blames_no_router(
    hub: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchdog, "INTERVAL_S", 0.01)
    monkeypatch.setattr(watchdog, "BLOCKED_S", 0.1)
    async with hub.run(patient=Patient()) as routers:
        time.sleep(0.5)
        await hub.publish("in/1")
        await hub.wait_for("out")
        [state] = routers.snapshot()

    assert state["blocked"] == 0
    assert caplog.text == ""
