"""Attempts at one message: repeated, limited, and given up; then the next one has its turn."""

import logging
import math
from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from hookbot.errors import ConfigError, Refused
from hookbot.protocol.headers import encoded
from hookbot.protocol.message import Message
from hookbot.routers.attempts import RouterLimits, failed_draft
from hookbot.routers.outbox import DraftCollector
from support.clock import pass_time
from support.misbehaving_routers import Copy, Misbehaving, hang, raise_error


async def exit_process(publish: DraftCollector) -> None:
    raise SystemExit(1)


async def flood(publish: DraftCollector) -> None:
    for number in range(10_000):
        await publish(f"flood/{number}", b"")


async def flood_without_a_care(publish: DraftCollector) -> None:
    for number in range(10_000):
        try:
            await publish(f"flood/{number}", b"")
        except Exception:
            continue


async def text(publish: DraftCollector) -> None:
    await publish("copy", "text")  # type: ignore[arg-type]


async def headers_of_another_type(publish: DraftCollector) -> None:
    await publish("copy", b"", headers={"Content-Type": "text/plain"})  # type: ignore[arg-type]


async def leave_a_nursery_open(publish: DraftCollector) -> None:
    nursery = await trio.open_nursery().__aenter__()
    nursery.start_soon(trio.sleep_forever)


async def raise_in_a_nursery(publish: DraftCollector) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
        raise OSError("in a nursery")


MISBEHAVIOURS = [
    (raise_error, "OSError: no such luck"),
    (hang, "TimeoutError: its time limit of 30 s for one message is over"),
    (exit_process, "SystemExit: 1"),
    (flood, "Refused: a router publishes at most 1000 times for one message"),
    (flood_without_a_care, "Refused: a router publishes at most 1000 times for one message"),
    (text, "TypeError: publish takes bytes or a message, not str"),
    (headers_of_another_type, "TypeError: headers are pairs of str"),
    (leave_a_nursery_open, "Crash: it left a nursery open"),
    (raise_in_a_nursery, "OSError: in a nursery"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("how", "error"), MISBEHAVIOURS)
async def test_a_router_that_misbehaves_goes_on_with_the_next_message_and_disturbs_nobody(
    hub: Any, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, how: Callable[..., Any], error: str
) -> None:
    async with hub.run(bad=Misbehaving(how), good=Copy()) as routers:
        bad = await hub.publish("in/1", b"bad", headers=(("X-Kind", "test"),))
        await hub.publish("in/2", b"next")
        copies = await hub.wait_for("copy", 3)

        [failed] = await hub.wait_for("hookbot/failed/bad")
        [state, good] = routers.snapshot()

    assert [copy.body for copy in copies if copy.hops == ("good",)] == [b"bad", b"next"]
    assert [copy.body for copy in copies if copy.hops == ("bad",)] == [b"next"]
    assert (failed.body, failed.header("x-kind"), failed.hops) == (b"bad", "test", ())
    assert {message.routed_from for message in (copies[0], failed)} == {bad.id}
    assert failed.header("Hookbot-Failed-Router") == "bad"
    assert failed.header("Hookbot-Failed-Id") == bad.id
    assert failed.header("Hookbot-Failed-Topic") == "in/1"
    assert failed.header("Hookbot-Failed-Error").startswith(error)
    assert state["failed"] == 1
    assert state["error"].startswith(error)
    assert (good["routed"], good["failed"], good["restarts"], good["lag"]) == (2, 0, 0, 0)
    assert any("bad" in record.message and bad.id in record.message for record in caplog.records)


@pytest.mark.parametrize("topic", ["not//a topic", "hookbot/failed/other", "a\x1b[2J"])
async def test_a_publish_to_no_topic_costs_no_other_and_a_message_without_any_other_fails(
    hub: Any, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, topic: str
) -> None:
    class Both(Copy):
        async def route(self, message: Message, publish: DraftCollector) -> None:
            await publish(topic, message)
            if message.body == b"both":
                await publish("copy", message)

    async with hub.run(bad=Both()):
        await hub.publish("in/1", b"both")
        await hub.publish("in/1", b"only one")
        [failed] = await hub.wait_for("hookbot/failed/bad")

    assert [copy.body for copy in await hub.stored("copy")] == [b"both"]
    assert failed.body == b"only one"
    assert failed.header("Hookbot-Failed-Error").startswith("InvalidTopic: ")
    assert caplog.text.count("left out 1 of its publishes") == 1


@pytest.mark.parametrize("how", [raise_error, exit_process, leave_a_nursery_open, raise_in_a_nursery])
async def test_a_message_that_fails_once_is_routed_at_the_second_attempt(
    hub: Any, autojump_clock: MockClock, how: Callable[..., Any]
) -> None:
    async with hub.run(bad=Misbehaving(how, times=1)) as routers:
        await hub.publish("in/1", b"bad")
        [copy] = await hub.wait_for("copy")
        [state] = routers.snapshot()

    assert copy.body == b"bad"
    assert (state["routed"], state["failed"]) == (1, 0)
    assert await hub.stored("hookbot/") == []


async def test_a_message_that_failed_is_unsafe_where_it_was_unsafe(hub: Any, autojump_clock: MockClock) -> None:
    class Unsafe(Misbehaving):
        topics = ("/unsafe/in/",)

    async with hub.run(bad=Unsafe(raise_error)):
        await hub.publish("/unsafe/in/1", b"bad")
        [failed] = await hub.wait_for("/unsafe/hookbot/failed/bad")

    assert failed.body == b"bad"


def test_what_failed_can_be_sent_again_whatever_its_error_and_its_topic_contain() -> None:
    error = ValueError("a\0b \x1b[2J \u202e\u20ac \xe9 \ud800")
    draft = failed_draft("copy", Message("in/\u20ac ", b"", id="abcdefgh-000000000000001"), error)
    headers = dict(draft.headers)

    assert encoded(draft.headers)
    assert headers["Hookbot-Failed-Error"] == "ValueError: a\\x00b \\x1b[2J \\u202e\\u20ac \xe9 \\ud800"
    assert headers["Hookbot-Failed-Topic"] == r"in/\u20ac"


async def test_two_routers_that_hear_everything_and_always_fail_do_not_feed_on_each_others_failures(
    hub: Any, autojump_clock: MockClock
) -> None:
    class Everything(Misbehaving):
        topics = ("",)

    async with hub.run(one=Everything(raise_error), two=Everything(raise_error)):
        await hub.publish("in/1", b"bad")
        await hub.wait_for("hookbot/failed/one")
        await hub.wait_for("hookbot/failed/two")
        await pass_time(1000)

    assert len(await hub.stored("")) == 3


async def test_a_message_is_not_tried_for_longer_than_its_time(hub: Any, autojump_clock: MockClock) -> None:
    started = trio.current_time()
    async with hub.run(bad=(Misbehaving(hang), RouterLimits(time_limit=7))):
        await hub.publish("in/1", b"bad")
        [failed] = await hub.wait_for("hookbot/failed/bad")
    assert 7 <= trio.current_time() - started < 7.5
    assert failed.header("Hookbot-Failed-Error") == "TimeoutError: its time limit of 7 s for one message is over"


@pytest.mark.slow
async def test_a_router_that_publishes_without_end_lets_the_rest_run_and_is_stopped(hub: Any) -> None:
    async def publish_for_ever(publish: DraftCollector) -> None:
        while True:
            try:
                await publish("flood", b"")
            except Exception:
                continue

    async with hub.run(
        bad=(Misbehaving(publish_for_ever), RouterLimits(time_limit=0.2, max_publishes=10)), good=Copy()
    ):
        await hub.publish("in/1", b"bad")
        [copy] = await hub.wait_for("copy")
        [failed] = await hub.wait_for("hookbot/failed/bad")

    assert copy.hops == ("good",)
    assert failed.header("Hookbot-Failed-Error") == "Refused: a router publishes at most 10 times for one message"


NOT_AS_EXPECTED = {
    "no JSON": b"no json",
    "JSON too deep": b"[" * 100_000,
    "an empty name": b'{"project": ""}',
    "no object": b"[]",
    "no such field": b"{}",
}


@pytest.mark.parametrize("body", NOT_AS_EXPECTED.values(), ids=NOT_AS_EXPECTED)
async def test_a_failure_that_lies_in_the_message_is_not_waited_for(
    hub: Any, autojump_clock: MockClock, body: bytes
) -> None:
    class Json(Copy):
        async def route(self, message: Message, publish: DraftCollector) -> None:
            await publish(f"a/{message.json()['project']}/b", message)

    started = trio.current_time()
    async with hub.run(json=Json()) as routers:
        await hub.publish("in/1", body)
        await hub.wait_for("hookbot/failed/json")
        assert trio.current_time() == started
        [state] = routers.snapshot()
    assert state["retried"] == 3


async def test_no_secret_of_a_message_is_logged_when_all_goes_well(hub: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with hub.run(copy=Copy()):
        await hub.publish("in/1", b"private")
        await hub.wait_for("copy")
    assert "private" not in caplog.text


@pytest.mark.parametrize(
    "limits", [{"time_limit": 0}, {"time_limit": -1.5}, {"time_limit": math.nan}, {"max_publishes": 0}]
)
def test_limits_that_nothing_could_keep_are_an_error(limits: dict[str, Any]) -> None:
    [(name, value)] = limits.items()

    with pytest.raises(ConfigError, match=f"{name} must be greater than 0, not {value}"):
        RouterLimits(**limits)


async def test_a_hub_that_ends_while_a_router_routes_is_no_failure_of_the_router(hub: Any) -> None:
    async with hub.run(bad=Misbehaving(hang)) as routers:
        await hub.publish("in/1", b"bad")
        await wait_all_tasks_blocked()

    [state] = routers.snapshot()
    assert (state["routed"], state["retried"], state["failed"], state["error"]) == (0, 0, 0, "")


@pytest.mark.parametrize(
    ("error", "traceback"),
    [
        (ValueError("no number"), False),
        (Refused("too deep"), False),
        (KeyError("issue"), True),
        (OSError("down"), True),
    ],
)
async def test_a_message_that_is_given_up_has_a_traceback_unless_the_error_explains_it(
    hub: Any, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, error: Exception, traceback: bool
) -> None:
    async def fail(publish: DraftCollector) -> None:
        raise error

    caplog.set_level(logging.INFO, "hookbot.routers")
    async with hub.run(bad=Misbehaving(fail)):
        await hub.publish("in/1", b"bad")
        await hub.wait_for("hookbot/failed/bad")

    *others, given_up = caplog.records
    assert [one.getMessage().partition(":")[0].split()[-2:] for one in others] == (
        [["trying", "again"]] if isinstance(error, OSError) else []
    )
    assert bool(given_up.exc_info) is traceback
