"""Workers: order, concurrency, retries and shutdown."""

import logging
import math
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from hookbot import Gap, Message
from hookbot.delivery.dead_letters import GaveUp
from hookbot.delivery.observer import Observer
from hookbot.delivery.outcome import Attempt, Failed, Outcome
from hookbot.delivery.shutdown import Stop
from hookbot.delivery.worker import Policy, Worker, hop_name
from hookbot.errors import Refused
from hookbot.protocol.message import format_id

TEST = Policy(hop="test")


def make(n: int, topic: str = "t", **fields: Any) -> Message:
    return Message(topic, str(n).encode(), id=format_id("abcdefgh", n), **fields)


class Work:
    """Work that records its messages; those that the test holds up wait until it releases them."""

    def __init__(self, *, fails: Mapping[int, int | Exception] | None = None, holds: Iterable[int] = ()) -> None:
        self.begun: list[int] = []
        self.done: list[int] = []
        self.cancelled: list[int] = []
        self._fails = dict(fails or {})  # number of a message → how often it fails, or how
        self._gates = {n: trio.Event() for n in holds}
        self._changed = trio.Event()

    def release(self, n: int) -> None:
        self._gates.pop(n).set()

    async def begun_with(self, *numbers: int) -> None:
        while not set(numbers) <= set(self.begun):
            await self._changed.wait()

    async def __call__(self, message: Message, attempt: int) -> Outcome:
        n = int(message.body)
        self.begun.append(n)
        self._changed.set()
        self._changed = trio.Event()
        try:
            if n in self._gates:
                await self._gates[n].wait()
            await trio.lowlevel.checkpoint()
        except trio.Cancelled:
            self.cancelled.append(n)
            raise
        left = self._fails.get(n, 0)
        if isinstance(left, Exception):
            raise left
        if left:
            self._fails[n] = left - 1
            raise Failed(Outcome("it does not work"))
        self.done.append(n)
        return Outcome("done")


class Watching(Observer):
    """An observer that records what it is told, with the numbers of the messages."""

    def __init__(self, seen: list[tuple[str, int]]) -> None:
        self._seen = seen

    def missed(self, gap: Gap) -> None:
        self._seen.append(("missed", 0))

    def taken(self, message: Message) -> None:
        self._seen.append(("taken", int(message.body)))

    def begun(self, message: Message, attempt: int) -> None:
        self._seen.append((f"attempt {attempt}", int(message.body)))

    def ended(self, attempt: Attempt) -> None:
        self._seen.append(("failed" if attempt.has_failed else "done", int(attempt.message.body)))

    def released(self, message: Message) -> None:
        self._seen.append(("released", int(message.body)))


class Scene:
    """A worker that runs, and everything around it."""

    def __init__(self, work: Work, policy: Policy) -> None:
        self.work = work
        self.acked: list[int] = []
        self.error: Exception | None = None
        self.ended = trio.Event()
        self.put, self._messages = trio.open_memory_channel[Message | Gap](math.inf)
        self.seen: list[tuple[str, int]] = []
        self.worker = Worker(work, policy, self._ack, Watching(self.seen))
        self.totals = self.worker.totals

    def _ack(self, message: Message) -> None:
        self.acked.append(int(message.body))

    def send(self, *messages: Message | Gap) -> None:
        for message in messages:
            self.put.send_nowait(message)

    async def end(self) -> None:
        self.put.close()
        await self.ended.wait()

    async def run(self, task_status: trio.TaskStatus[None]) -> None:
        async with trio.open_nursery() as nursery:
            self.stop = Stop(nursery.cancel_scope)
            task_status.started()
            try:
                await self.worker.run(self._messages, self.stop)
            except Exception as error:
                self.error = error
        self.ended.set()


@asynccontextmanager
async def working(work: Work, **policy: Any) -> AsyncIterator[Scene]:
    with trio.fail_after(3600):  # of the test's clock
        async with trio.open_nursery() as nursery:
            scene = Scene(work, Policy(**{"hop": "test", **policy}))
            await nursery.start(scene.run)
            yield scene
            nursery.cancel_scope.cancel()


async def test_messages_are_handled_in_order_and_acknowledged_when_they_are_done() -> None:
    async with working(Work(holds=[1])) as scene:
        scene.send(make(1), make(2), make(3))
        await scene.work.begun_with(1)
        assert scene.acked == []
        scene.work.release(1)
        await scene.end()
    assert scene.work.done == scene.acked == [1, 2, 3]
    assert scene.totals.done == 3


async def test_several_topics_at_once_as_many_as_allowed_each_in_order() -> None:
    async with working(Work(holds=[1, 2, 3, 4]), concurrency=2) as scene:
        scene.send(make(1, "a"), make(2, "a"), make(3, "b"), make(4, "c"))
        await trio.testing.wait_all_tasks_blocked()
        assert scene.work.begun == [1, 3]
        scene.work.release(3)
        await trio.testing.wait_all_tasks_blocked()
        assert scene.work.begun == [1, 3, 4]
        for n in (1, 2, 4):
            scene.work.release(n)
        await scene.end()
    assert scene.work.begun.index(1) < scene.work.begun.index(2)
    assert sorted(scene.acked) == [1, 2, 3, 4]


async def test_in_any_order_the_messages_of_a_topic_do_not_wait_for_each_other() -> None:
    async with working(Work(holds=[1]), concurrency=2, in_order=False) as scene:
        scene.send(make(1), make(2))
        await trio.testing.wait_all_tasks_blocked()
        assert scene.acked == [2]


async def test_what_fails_is_tried_again_while_its_topic_waits_and_others_do_not(autojump_clock: MockClock) -> None:
    async with working(Work(fails={1: 3})) as scene:
        scene.send(make(1, "a"), make(2, "a"), make(3, "b"))
        await scene.end()
    assert scene.work.begun.count(1) == 4
    assert scene.work.done == [3, 1, 2]


async def test_between_attempts_it_waits_longer_and_longer_and_as_long_as_it_is_asked_to(
    autojump_clock: MockClock,
) -> None:
    async with working(Work(fails={1: 2})) as scene:
        scene.send(make(1))
        await scene.end()
        assert 1 <= trio.current_time() <= 3
    began = trio.current_time()
    async with working(Work(fails={1: Failed(Outcome("later"), retry_after_s=120)}), max_attempts=2) as scene:
        scene.send(make(1))
        await scene.end()
    assert trio.current_time() - began >= 120


async def test_nothing_is_given_up_unless_it_is_said_so(autojump_clock: MockClock) -> None:
    async with working(Work(fails={1: 50})) as scene:
        scene.send(make(1))
        await scene.end()
    assert scene.work.done == [1]


async def test_what_was_tried_often_enough_ends_it_all_and_is_not_acknowledged(autojump_clock: MockClock) -> None:
    async with working(Work(fails={1: 9}), max_attempts=2) as scene:
        scene.send(make(1), make(2))
        await scene.ended.wait()
    assert isinstance(scene.error, GaveUp)
    assert "it does not work (2 attempts)" in str(scene.error)
    assert (scene.work.begun, scene.acked) == ([1, 1], [])


async def test_when_it_all_ends_what_is_in_hand_is_still_finished(autojump_clock: MockClock) -> None:
    async with working(Work(fails={1: 9}, holds=[1, 2]), max_attempts=1, concurrency=2) as scene:
        scene.send(make(1, "a"), make(2, "b"), make(3, "b"))
        await scene.work.begun_with(1, 2)
        scene.work.release(1)
        await trio.testing.wait_all_tasks_blocked()
        assert not scene.ended.is_set()
        scene.work.release(2)
        await scene.ended.wait()
    assert isinstance(scene.error, GaveUp)
    assert (scene.work.done, scene.acked) == ([2], [2])


class Kept:
    def __init__(self, error: GaveUp | None = None) -> None:
        self.taken: list[tuple[int, str]] = []
        self._error = error

    async def take(self, message: Message, why: str) -> str:
        if self._error:
            raise self._error
        self.taken.append((int(message.body), why))
        return "a drawer"


async def test_what_is_given_up_is_acknowledged_when_it_is_kept_elsewhere(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    kept = Kept()
    async with working(Work(fails={1: 9}), max_attempts=1, dead_letters=kept) as scene:
        scene.send(make(1), make(2))
        await scene.end()
    assert kept.taken == [(1, "it does not work (1 attempt)")]
    assert scene.acked == [1, 2]
    assert (scene.totals.done, scene.totals.failed) == (1, 1)
    assert "given up after 1 attempt and kept in a drawer" in caplog.text


async def test_what_cannot_be_kept_is_not_acknowledged(autojump_clock: MockClock) -> None:
    async with working(Work(fails={1: 9}), max_attempts=1, dead_letters=Kept(GaveUp("full"))) as scene:
        scene.send(make(1))
        await scene.ended.wait()
    assert (str(scene.error), scene.acked) == ("full", [])


async def test_of_several_that_wait_only_the_latest_is_handled() -> None:
    async with working(Work(holds=[1]), latest_only=True) as scene:
        scene.send(make(1, "a"))
        await scene.work.begun_with(1)
        scene.send(make(2, "a"), make(3, "b"), make(4, "a"))
        await trio.testing.wait_all_tasks_blocked()
        scene.work.release(1)
        await scene.end()
    assert sorted(scene.work.done) == [1, 3, 4]
    assert sorted(scene.acked) == [1, 2, 3, 4]
    assert scene.totals.skipped == 1


async def test_what_waits_for_another_attempt_gives_way_to_something_newer(autojump_clock: MockClock) -> None:
    async with working(Work(fails={1: Failed(Outcome("later"), retry_after_s=1e9)}), latest_only=True) as scene:
        scene.send(make(1))
        await scene.work.begun_with(1)
        await trio.testing.wait_all_tasks_blocked()
        scene.send(make(2))
        await scene.end()
    assert (scene.work.begun, scene.acked) == ([1, 2], [1, 2])


async def test_what_fails_while_something_newer_waits_is_not_tried_again(autojump_clock: MockClock) -> None:
    async with working(Work(fails={1: 9}, holds=[1]), latest_only=True) as scene:
        scene.send(make(1))
        await scene.work.begun_with(1)
        scene.send(make(2))
        await trio.testing.wait_all_tasks_blocked()
        scene.work.release(1)
        await scene.end()
    assert (scene.work.begun, scene.acked) == ([1, 2], [1, 2])


async def test_what_is_not_wanted_and_what_went_in_a_circle_is_acknowledged_only(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with working(Work(), hop="me", wanted=lambda message: message.topic == "t") as scene:
        scene.send(make(1, "other"), make(2, hops=("someone", "me")), make(3, hops=("someone",)))
        scene.send(make(4, headers=(("hookbot-hops", "someone, me"),)))  # which a hub does not believe on unsafe topics
        await scene.end()
    assert (scene.work.done, sorted(scene.acked), scene.totals.skipped) == ([3], [1, 2, 3, 4], 3)
    assert "loop" in caplog.text


async def test_a_gap_is_told_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    async with working(Work()) as scene:
        scene.send(Gap("retention", None, "x"), make(1))
        await scene.end()
    assert scene.totals.gaps == 1
    assert scene.seen[0] == ("missed", 0)
    assert "messages before x are missing (retention)" in caplog.text


async def test_it_ends_after_as_many_as_wanted() -> None:
    async with working(Work(), limit=2, wanted=lambda message: message.body != b"2") as scene:
        scene.send(*map(make, range(1, 10)))
        await scene.ended.wait()
    assert scene.work.done == [1, 3]


async def test_the_first_word_to_leave_lets_it_finish_what_is_in_hand_and_begin_nothing() -> None:
    async with working(Work(holds=[1])) as scene:
        scene.send(make(1, "a"), make(2, "a"), make(3, "b"))
        await scene.work.begun_with(1)
        scene.stop.ask()
        scene.work.release(1)
        await scene.ended.wait()
    assert (scene.work.begun, scene.acked, scene.error) == ([1], [1], None)


async def test_the_second_word_to_leave_ends_what_is_in_hand() -> None:
    async with working(Work(holds=[1])) as scene:
        scene.send(make(1))
        await scene.work.begun_with(1)
        scene.stop.ask()
        scene.stop.ask()
        await scene.ended.wait()
    assert (scene.work.cancelled, scene.acked) == ([1], [])


async def test_whoever_leaves_does_not_wait_for_another_attempt(autojump_clock: MockClock) -> None:
    async with working(Work(fails={1: Failed(Outcome("later"), retry_after_s=1e9)})) as scene:
        scene.send(make(1))
        await scene.work.begun_with(1)
        await trio.testing.wait_all_tasks_blocked()
        scene.stop.ask()
        await scene.ended.wait()
    assert scene.acked == []


async def test_whoever_leaves_while_an_attempt_fails_does_not_try_again(autojump_clock: MockClock) -> None:
    async with working(Work(fails={1: 9}, holds=[1])) as scene:
        scene.send(make(1))
        await scene.work.begun_with(1)
        scene.stop.ask()
        scene.work.release(1)
        await scene.ended.wait()
    assert (scene.work.begun, scene.acked) == ([1], [])


async def test_when_the_subscription_is_refused_what_is_in_hand_is_finished_first() -> None:
    work = Work(holds=[1])

    async def messages() -> AsyncIterator[Message]:
        yield make(1)
        await work.begun_with(1)
        work.release(1)
        raise Refused("taken over")

    acked: list[Message] = []
    with pytest.raises(Refused, match="taken over"):
        await Worker(work, TEST, acked.append).run(messages(), Stop(trio.CancelScope()))
    assert acked == [make(1)]


async def test_an_error_that_no_attempt_would_change_ends_it_all(autojump_clock: MockClock) -> None:
    async with working(Work(fails={1: Refused("never")})) as scene:
        scene.send(make(1))
        await scene.ended.wait()
    assert (str(scene.error), scene.acked) == ("never", [])


@pytest.mark.parametrize(("limits", "ahead"), [({"max_held": 3}, 3), ({"max_held_bytes": 150}, 2)])
async def test_it_reads_only_so_far_ahead(limits: dict[str, int], ahead: int) -> None:
    async with working(Work(holds=[1]), **limits) as scene:
        scene.send(*(make(n) for n in range(1, 10)))
        await trio.testing.wait_all_tasks_blocked()
        assert scene.put.statistics().current_buffer_used == 9 - ahead - 1
        scene.work.release(1)
        await scene.end()
    assert scene.work.done == list(range(1, 10))


async def test_a_message_that_is_larger_than_the_room_is_handled_alone() -> None:
    async with working(Work(), max_held_bytes=10) as scene:
        scene.send(make(1, "a"), make(2, "b"))
        await scene.end()
    assert scene.acked == [1, 2]


async def test_every_outcome_is_told(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with working(Work(fails={1: 1})) as scene:
        scene.send(make(1))
        await scene.end()
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert "t abcdefgh-000000000000001: it does not work; trying again in" in caplog.text
    assert "t abcdefgh-000000000000001: done" in caplog.text


def test_a_worker_has_the_same_hop_for_the_same_work_and_another_for_another() -> None:
    assert hop_name("exec", "a", "b") == hop_name("exec", "a", "b")
    assert len({hop_name("exec", "a", "b"), hop_name("exec", "ab"), hop_name("forward", "a", "b")}) == 3
    assert hop_name("exec", "a").startswith("exec-")


async def test_an_observer_is_told_what_happens_to_each_message(autojump_clock: MockClock) -> None:
    async with working(Work(fails={1: 1})) as scene:
        scene.send(make(1))
        await scene.end()
    told = ["taken", "attempt 1", "failed", "attempt 2", "done", "released"]
    assert scene.seen == [(what, 1) for what in told]


async def test_in_a_pause_nothing_is_read_and_nothing_begins_but_what_has_begun_ends() -> None:
    async with working(Work(holds=[1])) as scene:
        scene.send(make(1), make(2))
        await scene.work.begun_with(1)
        scene.worker.pause.begin()
        scene.work.release(1)
        await trio.testing.wait_all_tasks_blocked()
        # The reader had asked for one more already.
        scene.send(make(3), make(4))
        await trio.testing.wait_all_tasks_blocked()
        assert scene.acked == scene.work.begun == [1]
        assert ("taken", 4) not in scene.seen

        scene.worker.pause.end()
        await scene.end()
    assert scene.acked == [1, 2, 3, 4]


async def test_a_pause_does_not_hold_up_a_stop() -> None:
    async with working(Work()) as scene:
        scene.worker.pause.begin()
        scene.send(make(1))
        await trio.testing.wait_all_tasks_blocked()
        scene.stop.ask()
        await scene.ended.wait()
    assert scene.work.begun == []


async def test_what_waits_for_its_next_attempt_can_have_it_at_once() -> None:
    async with working(Work(fails={1: Failed(Outcome("later"), retry_after_s=3600)}), max_attempts=2) as scene:
        first = make(1)
        scene.send(first)
        await trio.testing.wait_all_tasks_blocked()
        scene.worker.retry_now(make(2, "elsewhere"))
        await trio.testing.wait_all_tasks_blocked()
        assert scene.work.begun == [1]

        scene.worker.retry_now(first)
        await scene.ended.wait()
    assert scene.work.begun == [1, 1]


async def test_a_result_that_is_final_gives_up_at_once_and_others_do_not(autojump_clock: MockClock) -> None:
    final, other = (Failed(Outcome("no", result)) for result in ("400", "500"))
    kept = Kept()
    work = Work(fails={1: final, 2: other})
    async with working(work, give_up_on={"400"}, max_attempts=3, dead_letters=kept) as scene:
        scene.send(make(1), make(2), make(3))
        await scene.end()

    assert scene.work.begun == [1, 2, 2, 2, 3]
    assert scene.acked == [1, 2, 3]
    assert scene.totals.failed == 2
