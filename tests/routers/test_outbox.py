"""What a router publishes: collected for a message, and committed with its position."""

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from hookbot.errors import Unavailable
from hookbot.protocol.message import Draft, Message
from hookbot.routers.outbox import DraftCollector
from support.clock import pass_time
from support.misbehaving_routers import Copy


async def test_the_seventeenth_router_of_a_message_fails_with_a_clear_error(
    hub: Any, autojump_clock: MockClock
) -> None:
    before = tuple(f"r{number}" for number in range(16))
    async with hub.run(copy=Copy()):
        await hub.publish("in/1", b"x", hops=before)
        [failed] = await hub.wait_for("hookbot/failed/copy")

    error = failed.header("Hookbot-Failed-Error")
    assert error.startswith("Refused: a message passes through at most 16 routers: r0, ")


async def test_what_is_published_after_route_has_returned_is_an_error(
    hub: Any, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    kept = []

    class Keeping(Copy):
        async def route(self, message: Message, publish: DraftCollector) -> None:
            kept.append(publish)

    async with hub.run(keeping=Keeping()):
        await hub.publish("in/1", b"x")
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(RuntimeError, match="published after route\\(\\) had ended"):
            await kept[0]("copy", b"late")


async def test_what_is_published_for_a_message_and_the_new_position_are_one_commit(
    hub: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    commits = []
    append = hub.broker.log.append

    async def recording_append(drafts: list[Draft], *, cursors: dict[str, int]) -> Any:
        commits.append((len(drafts), dict(cursors)))
        return await append(drafts, cursors=cursors)

    class Twice(Copy):
        async def route(self, message: Message, publish: DraftCollector) -> None:
            await publish("copy", message)
            await publish("copy", message)

    async with hub.run(twice=Twice()):
        monkeypatch.setattr(hub.broker.log, "append", recording_append)
        await hub.publish("in/1", b"x")
        await hub.wait_for("copy", 2)

    assert commits == [(1, {}), (2, {"router/twice": 1})]


async def test_what_the_log_cannot_take_is_stored_later_once_and_in_order(
    hub: Any, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    append = hub.broker.log.append
    failures = [Unavailable("disk full")] * 3

    async def failing_append(drafts: list[Draft], *, cursors: dict[str, int]) -> Any:
        if cursors and failures:
            raise failures.pop()
        return await append(drafts, cursors=cursors)

    async with hub.run(copy=Copy()):
        pass
    for number in range(10):
        await hub.publish("in/1", b"%d" % number)
    monkeypatch.setattr(hub.broker.log, "append", failing_append)
    async with hub.run(copy=Copy()):
        copies = await hub.wait_for("copy", 10)
        await pass_time(1000)

    assert [copy.body for copy in copies] == [b"%d" % number for number in range(10)]
    assert len(await hub.stored("copy")) == 10
    assert "disk full" in caplog.text


async def test_a_backlog_is_routed_in_few_commits(hub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async with hub.run(copy=Copy()):
        pass
    for number in range(1000):
        await hub.publish("in/1", b"%d" % number)
    commits = []
    append = hub.broker.log.append

    async def counting_append(drafts: list[Draft], *, cursors: dict[str, int]) -> Any:
        commits.append(len(drafts))
        return await append(drafts, cursors=cursors)

    monkeypatch.setattr(hub.broker.log, "append", counting_append)
    async with hub.run(copy=Copy()):
        copies = await hub.wait_for("copy", 1000)

    assert [copy.body for copy in copies] == [b"%d" % number for number in range(1000)]
    assert len(commits) < 100
