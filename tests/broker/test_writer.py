"""The one task that writes the log."""

import logging
from collections.abc import AsyncIterator, Sequence
from itertools import pairwise
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from hookbot.broker.counts import Counts
from hookbot.broker.limits import BrokerLimits
from hookbot.broker.writer import TRIM_INTERVAL_S, Writer
from hookbot.errors import Damaged, Unavailable
from hookbot.log.contract import Log, NewPosition, Stored, Unit
from hookbot.log.deduplication import Outcome
from hookbot.log.duties import Held, SoleDuties
from hookbot.log.retention import Retention
from hookbot.protocol.message import Draft, Message, Once
from support.clock import pass_time
from support.stubborn_log import StubbornLog

KIB = 1024


class ObservedLog(StubbornLog):
    """A log that records its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.commits: list[tuple[list[str], dict[str, NewPosition]]] = []
        self.trims: list[tuple[float, Retention, int]] = []
        self.done: list[str] = []
        self.more_to_trim = 0

    def store(self, units: Sequence[Unit], done: Stored) -> None:
        cursors = {name: position for unit in units for name, position in unit.cursors.items()}
        self.commits.append(([draft.topic for unit in units for draft in unit.drafts], cursors))
        self.done.append("store")
        super().store(units, done)

    async def trim(self, retention: Retention, *, now_us: int) -> bool:
        self.trims.append((trio.current_time(), retention, now_us))
        self.done.append("trim")
        await trio.lowlevel.checkpoint()
        if self.error:
            raise self.error
        self.more_to_trim -= 1
        return self.more_to_trim >= 0


class Line:
    """A writer, the publishers that wait for it, and their outcomes."""

    def __init__(self, limits: BrokerLimits) -> None:
        self.log = ObservedLog()
        self.announced: list[list[str]] = []
        self.told: dict[tuple[str, ...], Any] = {}
        self.retention = Retention(max_count=7)
        self.counts = Counts()
        self.writer = Writer(self.log, self.retention, self.counts, lambda: 42, limits)
        self.follow(self.log)

    def submit(self, *topics: str, size: int = 0, **cursors: int | None) -> None:
        def done(result: Sequence[Outcome] | Unavailable) -> None:
            assert topics not in self.told
            self.told[topics] = result

        self.writer.submit(Unit([Draft(topic, b"x" * size) for topic in topics], cursors), done)
        self.writer.flush_soon()

    def follow(self, log: Log) -> None:
        log.follow(lambda news: self.announced.append([message.topic for message in news.messages]))


@pytest.fixture
def limits() -> BrokerLimits:
    return BrokerLimits()


@pytest.fixture
def line(limits: BrokerLimits) -> Line:
    return Line(limits)


@pytest.fixture
async def running(line: Line, nursery: trio.Nursery) -> AsyncIterator[Line]:
    nursery.start_soon(line.writer.run)
    await wait_all_tasks_blocked()
    yield line
    line.writer.close()


def topics(outcomes: Sequence[Message]) -> list[str]:
    return [outcome.topic for outcome in outcomes]


async def test_everyone_in_line_shares_one_commit(line: Line, nursery: trio.Nursery) -> None:
    for topic in "abc":
        line.submit(topic)
    nursery.start_soon(line.writer.run)
    await wait_all_tasks_blocked()

    assert [topics for topics, _ in line.log.commits] == [["a", "b", "c"]]
    assert line.announced == [["a", "b", "c"]]
    line.writer.close()


async def test_who_comes_while_a_commit_is_under_way_shares_the_next(running: Line) -> None:
    running.log.may_store = trio.Event()
    running.submit("first")
    await wait_all_tasks_blocked()
    running.submit("second")
    running.submit("third", "fourth")
    assert running.told == {}

    running.log.may_store.set()
    await wait_all_tasks_blocked()

    assert [topics for topics, _ in running.log.commits] == [["first"], ["second", "third", "fourth"]]
    assert topics(running.told["third", "fourth"]) == ["third", "fourth"]


async def test_messages_are_stored_in_the_order_in_which_they_stood_in_line(running: Line) -> None:
    for number in range(100):
        running.submit(str(number))
    await wait_all_tasks_blocked()
    positions = [running.told[(str(number),)][0].position for number in range(100)]
    assert positions == list(range(1, 101))


async def test_commits_are_counted_with_their_time_except_those_that_fail(line: Line, running: Line) -> None:
    running.submit("a")
    running.submit("b")
    await wait_all_tasks_blocked()
    line.log.error = Unavailable("the disk is full")
    running.submit("c")
    await wait_all_tasks_blocked()

    counts = line.counts
    assert (counts.commit_times.count, counts.published) == (1, 2)
    assert counts.commit_times.sum > 0
    assert (counts.store_times.count, counts.batch_messages.sum, counts.line_lengths.count) == (2, 2, 2)


async def test_what_only_moves_a_cursor_is_no_publish(running: Line) -> None:
    running.submit(reader=3)
    await wait_all_tasks_blocked()

    assert (running.counts.commit_times.count, running.counts.store_times.count) == (1, 0)


async def test_what_was_stored_is_answered_before_it_is_announced(line: Line, nursery: trio.Nursery) -> None:
    order = []
    line.log.follow(lambda _: order.append("announced"))
    writer = Writer(line.log, line.retention, Counts(), lambda: 42, BrokerLimits())
    writer.submit(Unit([Draft("a")]), lambda _: order.append("answered"))
    nursery.start_soon(writer.run)
    await wait_all_tasks_blocked()
    assert order == ["answered", "announced"]
    writer.close()


async def test_a_log_that_needs_no_waiting_has_stored_everything_when_the_writer_was_flushed(line: Line) -> None:
    for topic in "ab":
        line.submit(topic)
    assert line.told == {}

    line.writer.flush()

    assert line.announced == [["a", "b"]]
    assert {*line.told} == {("a",), ("b",)}


async def test_whoever_submits_again_with_each_answer_comes_in_the_next_batch_and_others_have_their_turn(
    running: Line,
) -> None:
    def submit(number: int) -> None:
        def submit_next(_: Sequence[Outcome] | Unavailable) -> None:
            if number:
                submit(number - 1)

        running.writer.submit(Unit([Draft(str(number))]), submit_next)

    submit(5000)
    running.writer.flush()
    assert running.announced == [["5000"]]

    await wait_all_tasks_blocked()
    assert running.announced == [[str(number)] for number in range(5000, -1, -1)]


async def test_cursors_go_into_the_same_commit(running: Line) -> None:
    running.submit("a", mine=1)
    running.submit(yours=2)
    await wait_all_tasks_blocked()

    assert running.log.commits == [(["a"], {"mine": 1, "yours": 2})]
    assert [cursor.name for cursor in await running.log.cursors()] == ["mine", "yours"]
    assert running.told[()] == []


async def test_everyone_is_told_what_became_of_their_own(running: Line) -> None:
    def keyed(topic: str, results: list[Any]) -> None:
        running.writer.submit(Unit([Draft(topic, once=(Once("idempotency", "s", "k"),))]), results.append)
        running.writer.flush_soon()

    first: list[Any] = []
    second: list[Any] = []
    third: list[Any] = []
    keyed("a", first)
    keyed("b", second)
    running.writer.submit(Unit([Draft("c")]), third.append)
    running.writer.flush_soon()
    await wait_all_tasks_blocked()

    assert (first[0][0].topic, second[0][0].id, third[0][0].topic) == ("a", first[0][0].id, "c")
    assert running.announced == [["a", "c"]]


@pytest.mark.parametrize("limits", [BrokerLimits(batch_bytes=10 * KIB)])
async def test_a_batch_is_bounded(running: Line) -> None:
    for number in range(6):
        running.submit(str(number), size=4 * KIB)
    await wait_all_tasks_blocked()
    assert [len(topics) for topics, _ in running.log.commits] == [2, 2, 2]


@pytest.mark.parametrize("limits", [BrokerLimits(batch_bytes=10 * KIB)])
async def test_what_is_larger_than_a_batch_goes_alone(running: Line) -> None:
    for topic, size in (("small", 1), ("large", 50 * KIB), ("small too", 1)):
        running.submit(topic, size=size)
    await wait_all_tasks_blocked()
    assert [topics for topics, _ in running.log.commits] == [["small"], ["large"], ["small too"]]


@pytest.mark.parametrize("limits", [BrokerLimits(queue_bytes=10 * KIB)])
async def test_who_comes_to_a_line_that_is_too_long_is_sent_away(running: Line) -> None:
    running.submit("a", size=6 * KIB)
    with pytest.raises(Unavailable, match="too many messages are waiting"):
        running.submit("b", size=6 * KIB)
    running.submit("c")
    await wait_all_tasks_blocked()
    running.submit("b", size=6 * KIB)
    await wait_all_tasks_blocked()

    assert topics(running.told[("b",)]) == ["b"]


UNVERIFIED = BrokerLimits(unverified_queue_bytes=10 * KIB, unverified_batch_bytes=5 * KIB)


@pytest.mark.parametrize("limits", [UNVERIFIED])
async def test_drafts_for_which_nobody_vouches_wait_in_a_line_of_their_own(line: Line, nursery: trio.Nursery) -> None:
    for number in range(4):
        line.submit(f"/unsafe/{number}", size=2 * KIB)
    for topic in "abc":
        line.submit(topic, size=4 * KIB)
    nursery.start_soon(line.writer.run)
    await wait_all_tasks_blocked()

    assert [topics for topics, _ in line.log.commits] == [
        ["a", "b", "c"],
        ["/unsafe/0", "/unsafe/1"],
        ["/unsafe/2", "/unsafe/3"],
    ]
    line.writer.close()


@pytest.mark.parametrize("limits", [BrokerLimits(batch_bytes=5 * KIB, unverified_batch_bytes=5 * KIB)])
async def test_neither_line_waits_for_the_end_of_the_other(line: Line, nursery: trio.Nursery) -> None:
    for number in range(2):
        for topic in (f"/unsafe/{number}", f"safe/{number}"):
            line.submit(topic, size=4 * KIB)
    nursery.start_soon(line.writer.run)
    await wait_all_tasks_blocked()

    assert [topics for topics, _ in line.log.commits] == [["safe/0"], ["/unsafe/0"], ["safe/1"], ["/unsafe/1"]]
    line.writer.close()


@pytest.mark.parametrize("limits", [UNVERIFIED])
async def test_what_nobody_vouches_for_fills_no_line_but_its_own(running: Line) -> None:
    running.submit("/unsafe/a", size=6 * KIB)
    with pytest.raises(Unavailable, match="too many messages are waiting"):
        running.submit("/unsafe/b", size=6 * KIB)
    running.submit("a", size=6 * KIB)
    running.submit("b", size=6 * KIB)
    await wait_all_tasks_blocked()

    assert {*running.told} == {("/unsafe/a",), ("a",), ("b",)}


@pytest.mark.parametrize("limits", [UNVERIFIED])
async def test_a_router_does_not_wait_in_the_line_of_unverified_drafts(line: Line, nursery: trio.Nursery) -> None:
    line.submit("/unsafe/a", size=6 * KIB)
    line.submit("/unsafe/b", size=6 * KIB, router=1)
    nursery.start_soon(line.writer.run)
    await wait_all_tasks_blocked()

    assert line.log.commits == [(["/unsafe/b"], {"router": 1}), (["/unsafe/a"], {})]
    line.writer.close()


async def test_in_a_line_of_unverified_drafts_too_everyone_is_told_when_the_writer_is_cancelled(line: Line) -> None:
    line.submit("/unsafe/a")
    with trio.CancelScope() as scope:
        scope.cancel()
        await line.writer.run()
    assert isinstance(line.told[("/unsafe/a",)], Unavailable)


@pytest.mark.parametrize("limits", [BrokerLimits(queue_bytes=10 * KIB)])
async def test_what_is_larger_than_the_whole_line_still_comes_in(running: Line) -> None:
    running.submit("large", size=50 * KIB)
    await wait_all_tasks_blocked()
    assert topics(running.told[("large",)]) == ["large"]


async def test_when_the_log_fails_everyone_is_told_and_the_writer_lives_on(
    running: Line, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    running.log.error = Unavailable("disk full")
    for topic in "abc":
        running.submit(topic)
        await wait_all_tasks_blocked()
    assert [str(running.told[(topic,)]) for topic in "abc"] == ["disk full"] * 3
    assert running.announced == []

    running.log.error = None
    running.submit("d")
    await wait_all_tasks_blocked()

    assert topics(running.told[("d",)]) == ["d"]
    storing = [record for record in caplog.records if "storing" in record.message]
    assert [record.message for record in storing] == [
        "storing messages fails: disk full",
        "storing messages works again",
    ]


async def test_what_nobody_expected_ends_the_writer_and_everyone_in_line_is_told(line: Line) -> None:
    line.log.error = ZeroDivisionError()
    line.submit("a")
    with pytest.raises(ZeroDivisionError):
        await line.writer.run()
    assert isinstance(line.told[("a",)], Unavailable)
    with pytest.raises(Unavailable):
        line.submit("b")


async def test_when_an_answer_fails_everyone_else_is_told_nevertheless(line: Line) -> None:
    def fail(_: Sequence[Outcome] | Unavailable) -> None:
        raise ZeroDivisionError

    line.submit("a")
    line.writer.submit(Unit([Draft("b")]), fail)
    line.submit("c")
    with pytest.raises(ZeroDivisionError):
        await line.writer.run()
    assert topics(line.told[("a",)]) == ["a"]
    assert isinstance(line.told[("c",)], Unavailable)


async def test_who_stands_in_line_when_the_writer_is_cancelled_is_told(line: Line) -> None:
    line.log.may_store = trio.Event()
    with trio.CancelScope() as scope:
        line.submit("a")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(line.writer.run)
            await wait_all_tasks_blocked()
            line.submit("b")
            scope.cancel()
            with trio.CancelScope(shield=True):
                await wait_all_tasks_blocked()
            line.log.may_store.set()
    assert topics(line.told[("a",)]) == ["a"]
    assert isinstance(line.told[("b",)], Unavailable)


async def test_what_stands_in_line_when_the_writer_is_closed_is_stored(running: Line) -> None:
    running.submit("a")
    running.writer.close()
    with pytest.raises(Unavailable, match="shutting down"):
        running.submit("b")
    await wait_all_tasks_blocked()
    assert topics(running.told[("a",)]) == ["a"]


async def test_a_writer_that_waits_can_be_closed(line: Line) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(line.writer.run)
        await wait_all_tasks_blocked()
        line.writer.close()


async def test_what_is_too_old_is_looked_for_now_and_then(running: Line, autojump_clock: MockClock) -> None:
    await pass_time(10 * TRIM_INTERVAL_S)
    assert [when - running.log.trims[0][0] for when, _, _ in running.log.trims] == pytest.approx(
        [n * TRIM_INTERVAL_S for n in range(len(running.log.trims))]
    )
    assert 10 <= len(running.log.trims) <= 11
    assert running.log.trims[0][1:] == (running.retention, 42)


async def test_while_there_is_more_to_delete_it_goes_on_between_the_commits(line: Line, nursery: trio.Nursery) -> None:
    line.log.more_to_trim = 1000
    nursery.start_soon(line.writer.run)
    for number in range(1000):
        line.submit(str(number))
        await trio.lowlevel.checkpoint()
        if line.log.done.count("store") > 10:
            break
    line.writer.close()

    trims = [n for n, done in enumerate(line.log.done) if done == "trim"]
    assert 5 < len(trims) < 990
    assert max(later - earlier for earlier, later in pairwise(trims)) <= 2


async def test_when_deleting_fails_publishing_goes_on_and_it_is_said_once(
    running: Line, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    running.log.error = Unavailable("disk full")
    await pass_time(5 * TRIM_INTERVAL_S)
    running.log.error = None
    running.submit("a")
    await wait_all_tasks_blocked()

    assert topics(running.told[("a",)]) == ["a"]
    assert [record.message for record in caplog.records] == ["deleting messages by retention fails: disk full"]


class DamagedLog(ObservedLog):
    """A log in which everything on the topic `bad` touches a damaged page."""

    def store(self, units: Sequence[Unit], done: Stored) -> None:
        if any(draft.topic == "bad" for unit in units for draft in unit.drafts):
            done(Damaged("a page is damaged"))
        else:
            super().store(units, done)


@pytest.mark.parametrize("bad", [{0}, {3}, {6}, {2, 3}, set(range(7)), set()])
async def test_only_what_touches_damage_is_refused_and_the_others_of_its_batch_are_stored(
    line: Line, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture, bad: set[int]
) -> None:
    line.writer._log = log = DamagedLog()
    line.follow(log)
    outcomes: list[list[Any]] = [[] for _ in range(7)]
    for number, results in enumerate(outcomes):
        line.writer.submit(Unit([Draft("bad" if number in bad else "good")], {f"c{number}": 1}), results.append)
    nursery.start_soon(line.writer.run)
    await wait_all_tasks_blocked()

    assert [isinstance(result, Damaged) for [result] in outcomes] == [number in bad for number in range(7)]
    stored = [result[0].position for [result] in outcomes if not isinstance(result, Damaged)]
    assert stored == list(range(1, 8 - len(bad)))
    assert {cursor.name for cursor in await log.cursors()} == {f"c{n}" for n in range(7) if n not in bad}
    assert sum(map(len, line.announced)) == 7 - len(bad)
    assert len([record for record in caplog.records if "damaged part" in record.message]) == bool(bad)
    line.writer.close()


class DutiesElsewhere(SoleDuties):
    """Duties that another hub holds."""

    def find(self, name: str) -> Held | None:
        return None


async def test_what_is_too_old_is_deleted_by_the_hub_that_has_the_duty(
    running: Line, autojump_clock: MockClock
) -> None:
    running.log.duties = DutiesElsewhere()
    await pass_time(2 * TRIM_INTERVAL_S)
    running.log.trims.clear()

    await pass_time(10 * TRIM_INTERVAL_S)
    assert running.log.trims == []

    running.log.duties = SoleDuties()
    await pass_time(2 * TRIM_INTERVAL_S)
    assert running.log.trims
