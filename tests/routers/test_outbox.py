"""Drafts of a router: collected for a message, and committed with its position."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from hookbot.broker.broker import Broker
from hookbot.errors import InvalidTopic, Refused, Superseded, Unavailable
from hookbot.log.contract import Move, NewPosition, Stored, Unit
from hookbot.log.memory import MemoryLog
from hookbot.protocol.http1 import MAX_HEAD_BYTES
from hookbot.protocol.message import Draft, Headers, Message
from hookbot.routers.outbox import MAX_BYTES, MAX_WAITING, DraftCollector, Outbox
from support.clock import pass_time
from support.misbehaving_routers import Copy


class ObservedLog(MemoryLog):
    """A log that records its commits, and fails to commit a router's position a given number of times."""

    def __init__(self) -> None:
        super().__init__()
        self.commits: list[tuple[int, dict[str, NewPosition]]] = []
        self.failures: list[Unavailable] = []

    def store(self, units: Sequence[Unit], done: Stored) -> None:
        if any(unit.cursors for unit in units) and self.failures:
            done(self.failures.pop())
            return
        drafts = sum(len(unit.drafts) for unit in units)
        self.commits.append((drafts, {name: new for unit in units for name, new in unit.cursors.items()}))
        super().store(units, done)


@pytest.fixture
def log() -> ObservedLog:
    return ObservedLog()


async def test_the_seventeenth_router_of_a_message_fails_with_a_clear_error(
    hub: Any, autojump_clock: MockClock
) -> None:
    before = tuple(f"r{number}" for number in range(16))
    async with hub.run(copy=Copy()):
        await hub.publish("in/1", b"x", hops=before)
        [failed] = await hub.wait_for("hookbot/failed/copy")

    error = failed.header("Hookbot-Failed-Error")
    assert error.startswith("Refused: the message has been through more than 16 routers; look for a loop in r0, ")


async def test_what_is_published_after_route_has_returned_is_an_error(
    hub: Any, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    kept = []

    class Keeping(Copy):
        async def route(self, message: Message, publish: DraftCollector) -> None:
            kept.append(publish)

    async with hub.run(keeping=Keeping()):
        await hub.publish("in/1", b"x")
        await wait_all_tasks_blocked()
        with pytest.raises(RuntimeError, match="published after route\\(\\) had ended"):
            await kept[0]("copy", b"late")


async def test_what_is_published_for_a_message_and_the_new_position_are_one_commit(hub: Any, log: ObservedLog) -> None:
    class Twice(Copy):
        async def route(self, message: Message, publish: DraftCollector) -> None:
            await publish("copy", message)
            await publish("copy", message)

    async with hub.run(twice=Twice()):
        log.commits.clear()
        await hub.publish("in/1", b"x")
        await hub.wait_for("copy", 2)

    assert log.commits == [(1, {}), (2, {"router/twice": Move(0, 1)})]


async def test_what_the_log_cannot_take_is_stored_later_once_and_in_order(
    hub: Any, log: ObservedLog, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with hub.run(copy=Copy()):
        pass
    for number in range(10):
        await hub.publish("in/1", b"%d" % number)
    log.failures = [Unavailable("disk full")] * 3
    async with hub.run(copy=Copy()):
        copies = await hub.wait_for("copy", 10)
        await pass_time(1000)

    assert [copy.body for copy in copies] == [b"%d" % number for number in range(10)]
    assert len(await hub.stored("copy")) == 10
    assert caplog.text.count("router/copy: not stored, trying again") == 3
    assert "disk full" in caplog.text


async def test_what_another_hub_has_routed_is_not_stored_and_the_router_starts_again_from_the_saved_position(
    hub: Any, log: ObservedLog, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with hub.run(copy=Copy()) as routers:
        log.failures = [Superseded("another hub has done it")]
        await hub.publish("in/1", b"first")
        first = await hub.wait_for("copy")
        await hub.publish("in/1", b"second")
        both = await hub.wait_for("copy", 2)
        [state] = routers.snapshot()

    assert [copy.body for copy in (*first, *both)] == [b"first", b"first", b"second"]
    assert len(await hub.stored("copy")) == 2
    assert state["restarts"] == 0
    assert caplog.text.count("router/copy: not stored, starting again from the saved position") == 1


@pytest.mark.slow
async def test_a_backlog_is_routed_in_few_commits(hub: Any, log: ObservedLog) -> None:
    async with hub.run(copy=Copy()):
        pass
    for number in range(1000):
        await hub.publish("in/1", b"%d" % number)
    log.commits.clear()

    async with hub.run(copy=Copy()):
        copies = await hub.wait_for("copy", 1000)

    assert [copy.body for copy in copies] == [b"%d" % number for number in range(1000)]
    assert len(log.commits) < 100


async def test_a_router_waits_while_the_outbox_is_full(broker: Broker, nursery: trio.Nursery) -> None:
    await broker.commit([], cursors={"router/copy": 0})
    outbox = Outbox(broker, "router/copy", 0)
    await outbox.put([Draft("copy")] * MAX_WAITING, 1)
    nursery.start_soon(outbox.put, [Draft("copy")], 2)
    await wait_all_tasks_blocked()
    assert outbox.position == 1

    nursery.start_soon(outbox.run)
    await wait_all_tasks_blocked()

    assert (outbox.position, outbox.committed) == (2, 2)
    assert broker.head == MAX_WAITING + 1


async def test_what_a_router_publishes_that_runs_twice_is_stored_once(broker: Broker, nursery: trio.Nursery) -> None:
    await broker.commit([], cursors={"router/copy": 0})
    mine, other = Outbox(broker, "router/copy", 0), Outbox(broker, "router/copy", 0)
    nursery.start_soon(mine.run)
    await mine.put([Draft("copy")], 1)
    await wait_all_tasks_blocked()

    await other.put([Draft("copy")], 1)
    await other.run()

    assert broker.head == 1


# -- what a router may publish

MESSAGE = Message("in/1", b"body", (("X-Kind", "test"),), "a=1", id="abcdefgh-000000000000001", hops=("first",))


async def published(*arguments: Any, **options: Any) -> Draft:
    """The draft that one publish makes of `MESSAGE`."""
    collector = DraftCollector("second", MESSAGE)
    await collector(*arguments, **options)
    collector.close()
    [draft] = collector.published.values()
    return draft


async def test_new_bytes_have_only_the_headers_and_hops_that_they_are_given() -> None:
    draft = await published("copy", b"new", headers=(("X-New", "1"),))
    assert draft == Draft("copy", b"new", (("X-New", "1"),), hops=("first", "second"), routed_from=MESSAGE.id)
    assert (await published("copy", b"new", wrapped=True)).query == "extra-metadata=github"


async def test_a_message_is_passed_on_whole_with_more_headers() -> None:
    draft = await published("copy", MESSAGE, headers=(("X-New", "1"),))
    headers, hops = (("X-Kind", "test"), ("X-New", "1")), ("first", "second")
    assert draft == Draft("copy", b"body", headers, "a=1", hops=hops, routed_from=MESSAGE.id)
    assert (await published("copy", MESSAGE, wrapped=True)).query == "a=1&extra-metadata=github"


WRONG: list[tuple[Any, Any, Any, type[Exception], str]] = [
    (5, b"", (), TypeError, "a topic is a str, not int"),
    ("not//a topic", b"", (), InvalidTopic, "'not//a topic'"),
    ("hookbot/x", b"", (), InvalidTopic, "only the hub itself publishes to topics beneath hookbot/: 'hookbot/x'"),
    ("copy", "text", (), TypeError, "publish takes bytes or a message, not str"),
    ("copy", b"", [["X-Kind", "test"]], TypeError, "headers are pairs of str"),
    ("copy", b"", [("X-Kind", 1)], TypeError, "headers are pairs of str"),
    ("copy", b"", [("X-Kind", "\u20ac")], Refused, "invalid value of the header 'X-Kind'"),
    ("copy", replace(MESSAGE, query=None), (), TypeError, "the query of a message is a str"),  # type: ignore[arg-type]
    ("copy", replace(MESSAGE, verified="github"), (), TypeError, "its verified a hookbot.Verified"),  # type: ignore[arg-type]
    ("copy", replace(MESSAGE, query="\ud800"), (), ValueError, "surrogates not allowed"),
]


@pytest.mark.parametrize(("topic", "what", "headers", "error", "text"), WRONG)
async def test_what_a_log_could_not_store_is_an_error_of_the_router(
    topic: Any, what: Any, headers: Any, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        await published(topic, what, headers=headers)


BAD_BRANCHES = ["a\x85b", "a\x1b[2Jb", "a\nb", "..", "a//b", "", "a?recursive", "x" * 1024, "\ud800"]


@pytest.mark.parametrize("branch", BAD_BRANCHES)
async def test_a_publish_that_no_log_could_store_costs_no_other_and_is_told_once(
    branch: str, caplog: pytest.LogCaptureFixture
) -> None:
    collector = DraftCollector("second", MESSAGE)
    await collector("before", b"")
    await collector(f"copy//{branch}" if not branch else f"copy/{branch}", b"")
    await collector("between", b"", headers=(("X-Branch", "\u20ac"),))
    await collector("after", b"")
    collector.close()

    assert [draft.topic for draft in collector.published.values()] == ["before", "after"]
    [record] = caplog.records
    assert f"router second: left out 2 of its publishes for {MESSAGE.id}: invalid topic" in record.getMessage()


@pytest.mark.parametrize(
    "headers",
    [
        (("X-A", "b\r\nEvil: c"),),
        (("X-A", "s3cret\0"),),
        (("X A:", "b"),),
        (("", "b"),),
        (("X-A", "b" * MAX_HEAD_BYTES),),
        tuple((f"X-{number}", "b" * 90) for number in range(400)),
    ],
)
async def test_a_publish_whose_headers_no_request_could_have_is_left_out(
    headers: Headers, caplog: pytest.LogCaptureFixture
) -> None:
    collector = DraftCollector("second", MESSAGE)
    await collector("new", b"", headers=headers)
    await collector("passed-on", replace(MESSAGE, headers=headers))
    await collector("after", b"")
    collector.close()

    assert [draft.topic for draft in collector.published.values()] == ["after"]
    assert "left out 2 of its publishes" in caplog.text
    assert "s3cret" not in caplog.text


async def test_the_headers_that_a_message_has_are_passed_on_whatever_they_are() -> None:
    message = replace(MESSAGE, headers=(("X-Old", " kept by an older hub\n"),))
    collector = DraftCollector("second", message)
    await collector("copy", message, headers=(("X-New", "1"),))

    assert collector.published["1"].headers == (*message.headers, ("X-New", "1"))


async def test_headers_that_a_router_reorders_are_not_each_compared_with_all() -> None:
    comparisons = 0

    class Name(str):
        __slots__ = ()
        __hash__ = str.__hash__

        def __eq__(self, other: object) -> bool:
            nonlocal comparisons
            comparisons += 1
            return super().__eq__(other)

    message = replace(MESSAGE, headers=tuple((Name(f"X-{number}"), "") for number in range(200)))
    await DraftCollector("second", message)("copy", replace(message, headers=message.headers[::-1]))

    assert comparisons < 1000


async def test_publishes_that_are_left_out_count_against_the_limit() -> None:
    collector = DraftCollector("second", MESSAGE, max_publishes=2)
    await collector("copy//", b"")
    await collector("copy", b"")
    with pytest.raises(Refused, match="at most 2 times"):
        await collector("copy//", b"")


async def test_two_publishes_for_one_message_cannot_have_one_name() -> None:
    collector = DraftCollector("second", MESSAGE)
    await collector("copy", b"", name="a")

    with pytest.raises(ValueError, match="two publishes for one message have the name 'a'"):
        await collector("copy", b"", name="a")


@pytest.mark.parametrize("size", [1, MAX_BYTES])
async def test_too_much_for_one_message_is_an_error_even_if_the_router_ignores_it(size: int) -> None:
    collector = DraftCollector("second", MESSAGE, max_publishes=1)
    with suppress(Refused):
        for _ in range(2):
            await collector("copy", bytes(size))

    with pytest.raises(Refused, match="a router publishes at most"):
        collector.close()
