"""Backlogs: a cursor, a group or a router that is too far behind for too long."""

import pytest
from trio.testing import MockClock

from hookbot.alerts.backlogs import BacklogRule
from hookbot.alerts.subjects import Subject
from hookbot.broker.claims import ConsumerKind
from hookbot.log.memory import MemoryLog
from hookbot.protocol.since import FromOldest
from support.alerts import WatchingHub, watching
from support.clock import Clock
from support.consumers import ack, take

MINUTE = 60
FIRING, RESOLVED = ("mirror", "firing"), ("mirror", "resolved")


def rule(kind: ConsumerKind = "cursor", path: str = "/sub/t/", *, behind: int = 3, for_s: int = MINUTE) -> BacklogRule:
    return BacklogRule(Subject(kind, "mirror", path), behind, for_s)


async def make(hub: WatchingHub, kind: ConsumerKind = "cursor", topic: str = "t/") -> None:
    """A cursor or a group of that name, at the head of the log."""
    async with hub.open(topic, **{kind: "mirror"}):
        pass


@pytest.mark.parametrize("kind", ["cursor", "group"])
async def test_a_reader_that_stays_behind_is_told_once_and_its_catching_up_once(
    autojump_clock: MockClock, log: MemoryLog, wall: Clock, kind: ConsumerKind
) -> None:
    async with watching(log, wall, rules=[rule(kind)]) as hub:
        await make(hub, kind)
        await hub.publish(*["t/x"] * 2)
        assert await hub.after(5 * MINUTE) == []
        await hub.publish("t/x")
        assert await hub.after(50) == []
        assert await hub.after(30) == [FIRING]
        await hub.publish(*["t/x"] * 10)
        assert await hub.after(5 * MINUTE) == [FIRING]
        await hub.consumers.move(kind, "/sub/t/", "mirror", None)
        assert await hub.after(20) == [FIRING, RESOLVED]


async def test_one_that_catches_up_in_time_is_not_told(autojump_clock: MockClock, log: MemoryLog, wall: Clock) -> None:
    async with watching(log, wall, rules=[rule()]) as hub:
        for _ in range(3):
            async with hub.open("t/", cursor="mirror") as consumer:
                await hub.publish(*["t/x"] * 3)
                await hub.after(40)
                await take(consumer, 3)
                ack(consumer, hub, hub.broker.head)
                await hub.after(15)
        assert await hub.states() == []


async def test_an_alert_says_what_is_wrong_since_when(autojump_clock: MockClock, log: MemoryLog, wall: Clock) -> None:
    async with watching(log, wall, rules=[rule(path="/sub/t?recursive", for_s=0)]) as hub:
        await make(hub, topic="t?recursive")
        await hub.publish(*["t/x"] * 3)
        await hub.after(15)
        [firing] = await hub.told()
        await hub.consumers.delete("cursor", "/sub/t?recursive", "mirror")
        await hub.after(15)
        resolved = (await hub.told())[1]

    since = firing["since"]
    about = "the cursor mirror at /sub/t?recursive"
    assert firing == {
        "type": "alert.firing",
        "kind": "cursor",
        "name": "mirror",
        "state": "firing",
        "since": since,
        "topic": "t?recursive",
        "sentence": f"{about} is behind: 3 messages or more have been waiting since {since[:19]}Z",
    }
    assert (resolved["since"], resolved["sentence"]) == (since, f"{about} is no longer behind")


async def test_only_messages_of_its_own_count(autojump_clock: MockClock, log: MemoryLog, wall: Clock) -> None:
    async with watching(log, wall, rules=[rule(for_s=0)]) as hub:
        await make(hub)
        await hub.publish(*["t/x"] * 2)
        await hub.publish(*["other"] * 10)
        assert await hub.after(MINUTE) == []


async def test_what_waits_is_counted_through_the_whole_log(autojump_clock: MockClock, wall: Clock) -> None:
    log = MemoryLog(clock_us=wall, scan_length=10)
    async with watching(log, wall, rules=[rule(for_s=0)]) as hub:
        await make(hub)
        for _ in range(2):
            await hub.publish("t/x")
            await hub.publish(*["other"] * 35)
        assert await hub.after(30) == []
        await hub.publish("t/x")
        assert await hub.after(20) == [FIRING]


async def test_a_restart_tells_nothing_again_and_ends_nothing(
    autojump_clock: MockClock, log: MemoryLog, wall: Clock
) -> None:
    async with watching(log, wall, rules=[rule()]) as hub:
        await make(hub)
        await hub.publish(*["t/x"] * 3)
        assert await hub.after(2 * MINUTE) == [FIRING]
    async with watching(log, wall, rules=[rule()]) as hub:
        assert await hub.after(5 * MINUTE) == [FIRING]
        await hub.consumers.move("cursor", "/sub/t/", "mirror", None)
        assert await hub.after(20) == [FIRING, RESOLVED]


async def test_one_that_does_not_exist_is_waited_for_and_that_is_logged_once(
    autojump_clock: MockClock, log: MemoryLog, wall: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    async with watching(log, wall, rules=[rule(for_s=0)]) as hub:
        await hub.publish(*["t/x"] * 3)
        assert await hub.after(MINUTE) == []
        async with hub.open("t/", cursor="mirror", since=FromOldest()):
            pass
        assert await hub.after(20) == [FIRING]

    missing = "an alert waits for the cursor mirror at /sub/t/, which does not exist yet"
    assert caplog.messages.count(missing) == 1


async def test_a_router_is_behind_by_what_comes_after_its_position(
    autojump_clock: MockClock, log: MemoryLog, wall: Clock
) -> None:
    router = BacklogRule(Subject("router", "mirror"), 3, 0)
    async with watching(log, wall, rules=[router]) as hub:
        await hub.broker.commit([], cursors={"router/mirror": 0, "router/mirror2": 3})
        await hub.publish(*["t/x"] * 2)
        assert await hub.after(20) == []
        await hub.publish("t/x")
        assert await hub.after(20) == [FIRING]
        [firing] = await hub.told()
        await hub.broker.commit([], cursors={"router/mirror": hub.broker.head})
        assert await hub.after(20) == [FIRING, RESOLVED]

    assert (firing["kind"], firing["topic"]) == ("router", "")
