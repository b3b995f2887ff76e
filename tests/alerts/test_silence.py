"""Silence: when a source is silent, and when it is heard again; also after restarts, downtime and clock jumps."""

from typing import Any

import pytest
from trio.testing import MockClock

from hookbot.errors import Unavailable
from hookbot.log.contract import Behind
from hookbot.log.memory import MemoryLog
from hookbot.log.retention import Retention
from hookbot.protocol.message import Once
from hookbot.protocol.topics import TopicFilter
from support.alerts import EVERY_S, SHOP, source, watching
from support.clock import Clock, trusted

MINUTE = 60
FIRING, RESOLVED = (SHOP, "firing"), (SHOP, "resolved")


async def test_a_source_is_silent_once_it_has_sent_nothing_for_as_long_as_expected(
    autojump_clock: MockClock, log: MemoryLog, wall: Clock
) -> None:
    async with watching(log, wall, source()) as hub:
        assert await hub.after(15 * MINUTE) == []
        await hub.deliver()
        assert await hub.after(19 * MINUTE) == []
        assert await hub.after(2 * MINUTE) == [FIRING]


async def test_a_silence_is_told_once_and_its_end_once(autojump_clock: MockClock, log: MemoryLog, wall: Clock) -> None:
    async with watching(log, wall, source()) as hub:
        await hub.after(2 * EVERY_S)
        await hub.deliver()
        assert await hub.after(MINUTE) == [FIRING, RESOLVED]
        assert await hub.after(MINUTE / 2) == [FIRING, RESOLVED]
        assert await hub.after(2 * EVERY_S) == [FIRING, RESOLVED, FIRING]


async def test_an_alert_says_what_is_wrong_since_when(autojump_clock: MockClock, log: MemoryLog, wall: Clock) -> None:
    async with watching(log, wall, source()) as hub:
        message = await hub.deliver()
        await hub.after(2 * EVERY_S)
        await hub.deliver()
        await hub.after(MINUTE)
        firing, resolved = await hub.told()

    since = message.time.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    common = {"kind": "source", "name": SHOP, "since": since, "topic": SHOP}
    why = f"nothing was accepted since {since[:19]}Z, and something is expected every 20m"
    assert firing == {
        "type": "alert.firing",
        "state": "firing",
        "sentence": f"the source {SHOP} is silent: {why}",
        **common,
    }
    assert resolved == {
        "type": "alert.resolved",
        "state": "resolved",
        "sentence": f"the source {SHOP} is heard again",
        **common,
    }


async def test_a_source_without_an_expectation_is_never_silent(
    autojump_clock: MockClock, log: MemoryLog, wall: Clock
) -> None:
    async with watching(log, wall, source(every_s=None)) as hub:
        assert await hub.after(3 * EVERY_S) == []
        assert await log.cursors("alert ") == []


@pytest.mark.parametrize(
    "fields",
    [
        {"by": None},
        {"by": "/unsafe/shop/deeper/"},
        {"by": SHOP, "hops": ("elsewhere",)},
        {"by": SHOP, "routed_from": "abcdefgh-000000000000001"},
        {"by": SHOP, "replay_of": "abcdefgh-000000000000001"},
    ],
    ids=["without a signature", "another source", "another hub", "a router", "an operator"],
)
async def test_what_another_has_published_on_its_topic_does_not_end_its_silence(
    autojump_clock: MockClock, log: MemoryLog, wall: Clock, fields: dict[str, object]
) -> None:
    async with watching(log, wall, source()) as hub:
        await hub.deliver()
        assert await hub.after(15 * MINUTE) == []
        # More than one page of the log.
        for _ in range(250):
            await hub.deliver(f"{SHOP}deeper/x", **fields)  # type: ignore[arg-type]
        assert await hub.after(6 * MINUTE) == [FIRING]


async def test_a_delivery_that_comes_again_does_not_end_a_silence(
    autojump_clock: MockClock, log: MemoryLog, wall: Clock
) -> None:
    once = (Once("delivery", SHOP, "id", exclusive=False),)
    async with watching(log, wall, source()) as hub:
        first = await hub.deliver(once=once)
        await hub.after(2 * EVERY_S)
        again = await hub.deliver(once=once)
        assert again.duplicate_of == first.id
        assert await hub.after(MINUTE) == [FIRING]


async def test_a_delivery_among_many_of_others_is_found(autojump_clock: MockClock, log: MemoryLog, wall: Clock) -> None:
    async with watching(log, wall, source()) as hub:
        await hub.after(15 * MINUTE)
        await hub.deliver()
        for _ in range(250):
            await hub.deliver(f"{SHOP}deeper/x", "/unsafe/shop/deeper/")
        assert await hub.after(19 * MINUTE) == []


# -- restarts


async def test_a_restart_tells_nothing_again(autojump_clock: MockClock, log: MemoryLog, wall: Clock) -> None:
    async with watching(log, wall, source()) as hub:
        assert await hub.after(2 * EVERY_S) == [FIRING]
    async with watching(log, wall, source()) as hub:
        assert await hub.after(2 * EVERY_S) == [FIRING]
        await hub.deliver()
        assert await hub.after(MINUTE) == [FIRING, RESOLVED]
    async with watching(log, wall, source()) as hub:
        assert await hub.after(10 * MINUTE) == [FIRING, RESOLVED]


async def test_a_first_look_that_fails_tells_nothing(
    autojump_clock: MockClock, log: MemoryLog, wall: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    behind, failures = log.behind, iter([Unavailable("the database is away")])

    async def failing_first(*args: Any, **options: Any) -> Behind:
        for failure in failures:
            raise failure
        return await behind(*args, **options)

    monkeypatch.setattr(log, "behind", failing_first)
    async with watching(log, wall, source()) as hub:
        assert await hub.after(10 * MINUTE) == []
        assert await hub.after(2 * EVERY_S) == [FIRING]


async def test_a_silence_is_told_however_often_the_hub_is_restarted(
    autojump_clock: MockClock, log: MemoryLog, wall: Clock
) -> None:
    for _ in range(8):
        async with watching(log, wall, source()) as hub:
            told = await hub.after(4 * MINUTE)
    assert told == [FIRING]


async def test_what_was_sent_just_before_a_restart_counts(
    autojump_clock: MockClock, log: MemoryLog, wall: Clock
) -> None:
    async with watching(log, wall, source()) as hub:
        await hub.after(15 * MINUTE)
        await hub.deliver()
    async with watching(log, wall, source()) as hub:
        assert await hub.after(15 * MINUTE) == []
        assert await hub.after(7 * MINUTE) == [FIRING]


async def test_the_end_of_a_silence_is_told_also_of_what_was_sent_just_before_a_restart(
    autojump_clock: MockClock, log: MemoryLog, wall: Clock
) -> None:
    async with watching(log, wall, source()) as hub:
        assert await hub.after(2 * EVERY_S) == [FIRING]
        await hub.deliver()
    async with watching(log, wall, source()) as hub:
        assert await hub.after(MINUTE) == [FIRING, RESOLVED]


async def test_time_in_which_no_hub_was_up_does_not_count(
    autojump_clock: MockClock, log: MemoryLog, wall: Clock
) -> None:
    async with watching(log, wall, source()) as hub:
        await hub.deliver()
        await hub.after(10 * MINUTE)
    wall.skip(days=2)
    async with watching(log, wall, source()) as hub:
        # The clock is in doubt for ten minutes, since the newest message is so old.
        assert await hub.after(8 * MINUTE) == []
        assert await hub.after(10 * MINUTE) == [FIRING]


async def test_a_silence_that_was_told_goes_on_while_no_hub_is_up(
    autojump_clock: MockClock, log: MemoryLog, wall: Clock
) -> None:
    async with watching(log, wall, source()) as hub:
        assert await hub.after(2 * EVERY_S) == [FIRING]
    wall.skip(days=2)
    async with watching(log, wall, source()) as hub:
        assert await hub.after(2 * EVERY_S) == [FIRING]


async def test_what_retention_has_deleted_is_still_known(
    autojump_clock: MockClock, log: MemoryLog, wall: Clock
) -> None:
    async with watching(log, wall, source(every_s=3 * EVERY_S)) as hub:
        await hub.after(EVERY_S)
        await hub.deliver()
        await hub.after(MINUTE)
        hub.broker.retain(Retention(max_count=1))
        await hub.publish("/unsafe/other")
        await hub.after(5 * MINUTE)
        assert log.gone_up_to(TopicFilter((SHOP,)))
    async with watching(log, wall, source(every_s=3 * EVERY_S)) as hub:
        assert await hub.after(52 * MINUTE) == []
        assert await hub.after(5 * MINUTE) == [FIRING]


async def test_when_a_source_was_last_heard_is_known_after_a_restart(
    autojump_clock: MockClock, log: MemoryLog, wall: Clock
) -> None:
    async with watching(log, wall, source()) as hub:
        await hub.deliver()
        await hub.after(MINUTE)
    shop = source()
    async with watching(log, wall, shop) as hub:
        await hub.after(MINUTE)
        clock = hub.broker.clock
        assert shop.activity.last_accepted_s == pytest.approx(clock.monotonic_s - 2 * MINUTE, abs=1)


# -- clocks


async def test_a_jump_of_the_clock_makes_no_source_silent(
    autojump_clock: MockClock, log: MemoryLog, wall: Clock
) -> None:
    async with watching(log, wall, source()) as hub:
        await hub.deliver()
        await hub.after(10 * MINUTE)
        wall.skip(days=1)
        assert await hub.after(8 * MINUTE) == []
        assert await hub.after(10 * MINUTE) == [FIRING]


async def test_a_clock_that_is_in_doubt_at_the_start_ends_no_alert(
    autojump_clock: MockClock, log: MemoryLog, wall: Clock
) -> None:
    async with watching(log, wall, source()) as hub:
        assert await hub.after(2 * EVERY_S) == [FIRING]
    wall.skip(seconds=EVERY_S)
    async with watching(log, wall, source()) as hub:
        assert await hub.after(5 * MINUTE) == [FIRING]


async def test_a_clock_that_was_ahead_at_the_start_does_not_defer_a_silence_for_good(
    autojump_clock: MockClock, log: MemoryLog, wall: Clock
) -> None:
    async with watching(log, wall, source()) as hub:
        await hub.deliver()
        await hub.after(MINUTE)
    wall.skip(days=365)
    async with watching(log, wall, source(), clock=trusted(wall)) as hub:
        await hub.after(MINUTE)
        wall.skip(days=-365)
        assert await hub.after(2 * EVERY_S) == [FIRING]
