import logging

import pytest
import trio

from hookbot.errors import Unavailable
from hookbot.log.retention import Retention
from hookbot.routers.attempts import RouterLimits


class Copy:
    """Publishes what it reads on `copy`."""

    name = "copy"
    topics = ("in/",)

    async def route(self, message, publish):
        await publish("copy", message)


class Misbehaving(Copy):
    """Does something else first, for bodies that say `bad`."""

    def __init__(self, how, times=1000):
        self.how = how
        self.times = times

    async def route(self, message, publish):
        if message.body == b"bad" and self.times:
            self.times -= 1
            await self.how(publish)
        await publish("copy", message)


async def raise_error(publish):
    await publish("copy", b"half done")
    raise OSError("no such luck")


async def hang(publish):
    await trio.sleep_forever()


async def exit_process(publish):
    raise SystemExit(1)


async def flood(publish):
    for number in range(10_000):
        await publish(f"flood/{number}", b"")


async def flood_without_a_care(publish):
    for number in range(10_000):
        try:
            await publish(f"flood/{number}", b"")
        except Exception:
            continue


async def garbage_topic(publish):
    await publish("not//a topic", b"")


async def own_topic(publish):
    await publish("hookbot/failed/other", b"")


async def text(publish):
    await publish("copy", "text")


async def headers_of_another_type(publish):
    await publish("copy", b"", headers={"Content-Type": "text/plain"})


async def leave_a_nursery_open(publish):
    nursery = await trio.open_nursery().__aenter__()
    nursery.start_soon(trio.sleep_forever)


async def raise_in_a_nursery(publish):
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
        raise OSError("in a nursery")


MISBEHAVIOURS = [
    (raise_error, "OSError: no such luck"),
    (hang, "TimeoutError: it took longer than 30 s"),
    (exit_process, "SystemExit: 1"),
    (flood, "Refused: a router publishes at most 1000 times for one message"),
    (flood_without_a_care, "Refused: a router publishes at most 1000 times for one message"),
    (garbage_topic, "InvalidTopic: a topic has no empty, '.' or '..' segments: 'not//a topic'"),
    (own_topic, "InvalidTopic: topics beneath hookbot/ are the hub's own: 'hookbot/failed/other'"),
    (text, "TypeError: what is published is bytes or a message, not str"),
    (headers_of_another_type, "TypeError: headers are pairs of text"),
    (leave_a_nursery_open, "Crash: it left a nursery open"),
    (raise_in_a_nursery, "OSError: in a nursery"),
]


@pytest.mark.parametrize(("how", "error"), MISBEHAVIOURS)
async def test_a_router_that_misbehaves_goes_on_with_the_next_message_and_disturbs_nobody(
    hub, autojump_clock, caplog, how, error
):
    async with hub.run(bad=Misbehaving(how), good=Copy()) as routers:
        bad = await hub.publish("in/1", b"bad", headers=(("X-Kind", "test"),))
        await hub.publish("in/2", b"next")
        copies = await hub.wait_for("copy", 3)

        [failed] = await hub.wait_for("hookbot/failed/bad")
        [state, good] = routers.snapshot()

    assert [copy.body for copy in copies if copy.hops == ("good",)] == [b"bad", b"next"]
    assert [copy.body for copy in copies if copy.hops == ("bad",)] == [b"next"]
    assert (failed.body, failed.header("x-kind"), failed.hops) == (b"bad", "test", ())
    assert failed.header("Hookbot-Failed-Router") == "bad"
    assert failed.header("Hookbot-Failed-Id") == bad.id
    assert failed.header("Hookbot-Failed-Topic") == "in/1"
    assert failed.header("Hookbot-Failed-Error").startswith(error)
    assert state["failed"] == 1
    assert state["error"].startswith(error)
    assert (good["routed"], good["failed"], good["restarts"], good["lag"]) == (2, 0, 0, 0)
    assert any("bad" in record.message and bad.id in record.message for record in caplog.records)


@pytest.mark.parametrize("how", [raise_error, exit_process, leave_a_nursery_open, raise_in_a_nursery])
async def test_a_message_that_fails_once_is_routed_at_the_second_attempt(hub, autojump_clock, how):
    async with hub.run(bad=Misbehaving(how, times=1)) as routers:
        await hub.publish("in/1", b"bad")
        [copy] = await hub.wait_for("copy")
        [state] = routers.snapshot()

    assert copy.body == b"bad"
    assert (state["routed"], state["failed"]) == (1, 0)
    assert await hub.stored("hookbot/") == []


async def test_a_message_that_failed_is_unsafe_where_it_was_unsafe(hub, autojump_clock):
    class Unsafe(Misbehaving):
        topics = ("/unsafe/in/",)

    async with hub.run(bad=Unsafe(raise_error)):
        await hub.publish("/unsafe/in/1", b"bad")
        [failed] = await hub.wait_for("/unsafe/hookbot/failed/bad")

    assert failed.body == b"bad"


async def test_two_routers_that_hear_everything_and_always_fail_do_not_feed_on_each_others_failures(
    hub, autojump_clock
):
    class Everything(Misbehaving):
        topics = ("",)

    async with hub.run(one=Everything(raise_error), two=Everything(raise_error)):
        await hub.publish("in/1", b"bad")
        await hub.wait_for("hookbot/failed/one")
        await hub.wait_for("hookbot/failed/two")
        await trio.sleep(1000)

    assert len(await hub.stored("")) == 3


async def test_a_router_that_publishes_to_its_own_input_never_sees_its_own(hub, autojump_clock):
    class Circle(Copy):
        async def route(self, message, publish):
            await publish(message.topic, message)

    async with hub.run(one=Circle(), two=Circle()):
        await hub.publish("in/1", b"x")
        await hub.wait_for("in/1", 5)
        await trio.sleep(1000)

    hops = [message.hops for message in await hub.stored("")]
    assert sorted(hops) == [(), ("one",), ("one", "two"), ("two",), ("two", "one")]


async def test_the_seventeenth_router_of_a_message_fails_with_a_clear_error(hub, autojump_clock):
    before = tuple(f"r{number}" for number in range(16))
    async with hub.run(copy=Copy()):
        await hub.publish("in/1", b"x", hops=before)
        [failed] = await hub.wait_for("hookbot/failed/copy")

    assert failed.header("Hookbot-Failed-Error").startswith("Refused: a message goes through at most 16 routers: r0, ")


async def test_a_router_that_cannot_be_made_is_tried_again_until_it_can(hub, autojump_clock, caplog):
    attempts = []

    def make():
        attempts.append(1)
        if len(attempts) < 4:
            raise ImportError("not yet")
        return Copy()

    async with hub.run(late=make, good=Copy()) as routers:
        assert not routers.running
        await hub.publish("in/1", b"x")
        copies = await hub.wait_for("copy", 2)
        assert routers.running

    assert [copy.hops for copy in copies] == [("good",), ("late",)]
    assert "router late crashed" in caplog.text
    assert "ImportError: not yet" in caplog.text


async def test_a_router_that_is_a_context_manager_is_entered_again_after_a_crash_of_its_own_task(hub, autojump_clock):
    entered = []

    class WithTask(Copy):
        async def __aenter__(self):
            entered.append(1)
            self.manager = trio.open_nursery()
            self.nursery = await self.manager.__aenter__()
            return self

        async def __aexit__(self, *failure):
            self.nursery.cancel_scope.cancel()
            return await self.manager.__aexit__(*failure)

        async def route(self, message, publish):
            if len(entered) == 1:
                self.nursery.start_soon(self.fail)
                await trio.sleep_forever()
            await publish("copy", message)

        async def fail(self):
            raise OSError("in the background")

    async with hub.run(task=WithTask) as routers:
        await hub.publish("in/1", b"x")
        await hub.wait_for("copy")
        [state] = routers.snapshot()

    assert len(entered) == 2
    assert state["restarts"] == 1


async def test_a_new_router_begins_at_the_head_and_an_old_one_where_it_was(hub):
    await hub.publish("in/1", b"before")
    async with hub.run(copy=Copy()):
        await hub.publish("in/1", b"first")
        await hub.wait_for("copy")
    await hub.publish("in/1", b"meanwhile")
    async with hub.run(copy=Copy()):
        copies = await hub.wait_for("copy", 2)

    assert [copy.body for copy in copies] == [b"first", b"meanwhile"]


async def test_the_place_of_a_new_router_is_saved_before_anything_can_be_published(hub):
    await hub.publish("in/1", b"before")
    async with hub.run(copy=Copy()):
        [cursor] = await hub.broker.log.cursors("router/")

    assert (cursor.name, cursor.position) == ("router/copy", 1)


async def test_what_is_published_for_a_message_and_the_new_position_are_one_commit(hub, monkeypatch):
    commits = []
    append = hub.broker.log.append

    async def recording_append(drafts, *, cursors):
        commits.append((len(drafts), dict(cursors)))
        return await append(drafts, cursors=cursors)

    class Twice(Copy):
        async def route(self, message, publish):
            await publish("copy", message)
            await publish("copy", message)

    async with hub.run(twice=Twice()):
        monkeypatch.setattr(hub.broker.log, "append", recording_append)
        await hub.publish("in/1", b"x")
        await hub.wait_for("copy", 2)

    assert commits == [(1, {}), (2, {"router/twice": 1})]


async def test_what_the_log_cannot_take_is_stored_later_once_and_in_order(hub, autojump_clock, monkeypatch, caplog):
    append = hub.broker.log.append
    failures = [Unavailable("disk full")] * 3

    async def failing_append(drafts, *, cursors):
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
        await trio.sleep(1000)

    assert [copy.body for copy in copies] == [b"%d" % number for number in range(10)]
    assert len(await hub.stored("copy")) == 10
    assert "disk full" in caplog.text


async def test_a_backlog_is_routed_in_few_commits(hub, monkeypatch):
    async with hub.run(copy=Copy()):
        pass
    for number in range(1000):
        await hub.publish("in/1", b"%d" % number)
    commits = []
    append = hub.broker.log.append

    async def counting_append(drafts, *, cursors):
        commits.append(len(drafts))
        return await append(drafts, cursors=cursors)

    monkeypatch.setattr(hub.broker.log, "append", counting_append)
    async with hub.run(copy=Copy()):
        copies = await hub.wait_for("copy", 1000)

    assert [copy.body for copy in copies] == [b"%d" % number for number in range(1000)]
    assert len(commits) < 100


async def test_a_router_that_fell_behind_retention_says_so_and_goes_on(hub, caplog):
    async with hub.run(copy=Copy()):
        pass
    for number in range(10):
        await hub.publish("in/1", b"%d" % number)
    while await hub.broker.log.trim(Retention(max_count=3), now_us=0):
        pass
    async with hub.run(copy=Copy()) as routers:
        copies = await hub.wait_for("copy", 3)
        [state] = routers.snapshot()

    assert [copy.body for copy in copies] == [b"7", b"8", b"9"]
    assert state["gaps"] == 1
    assert "router copy missed what came before" in caplog.text


async def test_the_position_of_a_quiet_router_moves_on_so_that_retention_does_not_overtake_it(hub, autojump_clock):
    async with hub.run(copy=Copy()) as routers:
        for _ in range(5):
            await hub.publish("elsewhere", b"x")
        [state] = routers.snapshot()
        await trio.sleep(1000)
        [cursor] = await hub.broker.log.cursors("router/")

    assert state["lag"] == 0
    assert cursor.position == 5


async def test_lag_is_what_a_router_has_not_looked_at_yet(hub, autojump_clock):
    async with hub.run(bad=(Misbehaving(hang), RouterLimits(time_limit=30))) as routers:
        await hub.publish("in/1", b"bad")
        for _ in range(4):
            await hub.publish("in/1", b"good")
        await trio.sleep(1)
        [behind] = routers.snapshot()
        await hub.wait_for("copy", 4)
        await trio.sleep(1)
        [after] = routers.snapshot()

    assert (behind["lag"], after["lag"]) == (5, 0)


async def test_a_message_is_not_tried_for_longer_than_its_time(hub, autojump_clock):
    started = trio.current_time()
    async with hub.run(bad=(Misbehaving(hang), RouterLimits(time_limit=7))):
        await hub.publish("in/1", b"bad")
        [failed] = await hub.wait_for("hookbot/failed/bad")
    assert 7 <= trio.current_time() - started < 7.5
    assert failed.header("Hookbot-Failed-Error") == "TimeoutError: it took longer than 7 s"


async def test_a_router_that_publishes_without_end_lets_the_rest_run_and_is_stopped(hub):
    async def publish_for_ever(publish):
        while True:
            try:
                await publish("flood", b"")
            except Exception:
                continue

    async with hub.run(bad=(Misbehaving(publish_for_ever), RouterLimits(time_limit=0.2)), good=Copy()):
        await hub.publish("in/1", b"bad")
        [copy] = await hub.wait_for("copy")
        [failed] = await hub.wait_for("hookbot/failed/bad")

    assert copy.hops == ("good",)
    assert failed.header("Hookbot-Failed-Error") == "Refused: a router publishes at most 1000 times for one message"


NOT_AS_EXPECTED = {
    "no JSON": b"no json",
    "JSON too deep": b"[" * 100_000,
    "an empty name": b'{"project": ""}',
    "no object": b"[]",
    "no such field": b"{}",
}


@pytest.mark.parametrize("body", NOT_AS_EXPECTED.values(), ids=NOT_AS_EXPECTED)
async def test_a_failure_that_lies_in_the_message_is_not_waited_for(hub, autojump_clock, body):
    class Json(Copy):
        async def route(self, message, publish):
            await publish(f"a/{message.json()['project']}/b", message)

    started = trio.current_time()
    async with hub.run(json=Json()) as routers:
        await hub.publish("in/1", body)
        await hub.wait_for("hookbot/failed/json")
        assert trio.current_time() == started
        [state] = routers.snapshot()
    assert state["retried"] == 3


async def test_what_is_published_after_route_has_returned_is_an_error(hub, autojump_clock, caplog):
    kept = []

    class Session(Copy):
        async def route(self, message, publish):
            kept.append(publish)

    async with hub.run(keeper=Session()):
        await hub.publish("in/1", b"x")
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(RuntimeError, match="it can publish no more for it"):
            await kept[0]("copy", b"late")


async def test_no_secret_of_a_message_is_logged_when_all_goes_well(hub, caplog):
    caplog.set_level(logging.DEBUG)
    async with hub.run(copy=Copy()):
        await hub.publish("in/1", b"private")
        await hub.wait_for("copy")
    assert "private" not in caplog.text
