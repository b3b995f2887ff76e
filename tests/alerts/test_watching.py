"""The watch: one hub of a family tells each change once, whatever fails in between and however it is configured."""

import logging

import pytest
from trio.testing import MockClock

from hookbot.alerts.backlogs import BacklogRule
from hookbot.alerts.subjects import Subject
from hookbot.log.memory import MemoryLog
from support.alerts import EVERY_S, SHOP, source, watching
from support.clock import Clock, pass_time
from support.consumers import WorkingLog
from support.family import Family

MINUTE = 60
FIRING, RESOLVED = (SHOP, "firing"), (SHOP, "resolved")


async def test_an_alert_is_a_json_message_on_a_topic_of_the_hub(
    autojump_clock: MockClock, log: MemoryLog, wall: Clock
) -> None:
    async with watching(log, wall, source(), source("orders")) as hub:
        await hub.after(2 * EVERY_S)
        messages = await hub.messages()

    assert [message.topic for message in messages] == [
        "hookbot/alerts/source/unsafe/shop",
        "hookbot/alerts/source/orders",
    ]
    assert {message.header("Content-Type") for message in messages} == {"application/json"}


async def test_an_alert_is_logged_with_its_topic(
    autojump_clock: MockClock, log: MemoryLog, wall: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with watching(log, wall, source()) as hub:
        await hub.after(2 * EVERY_S)
        await hub.deliver()
        await hub.after(MINUTE)
        told = await hub.told()

    logged = [one for one in caplog.records if one.getMessage().startswith("alert: ")]
    assert [(one.levelname, one.getMessage(), vars(one)["topic"]) for one in logged] == [
        (level, f"alert: {one['sentence']}", SHOP) for level, one in zip(("WARNING", "INFO"), told, strict=True)
    ]


async def test_what_is_firing_can_be_asked(autojump_clock: MockClock, log: MemoryLog, wall: Clock) -> None:
    async with watching(log, wall, source()) as hub:
        await hub.after(MINUTE)
        assert await hub.alerts.firing() == {}
        await hub.after(2 * EVERY_S)
        assert await hub.alerts.firing() == {f"source {SHOP}": (await hub.told())[0]}
        await hub.deliver()
        await hub.after(MINUTE)
        assert await hub.alerts.firing() == {}


# -- other configurations


async def test_other_sources_and_rules_are_watched_from_the_next_look_on(
    autojump_clock: MockClock, log: MemoryLog, wall: Clock
) -> None:
    async with watching(log, wall) as hub:
        await hub.after(2 * EVERY_S)
        async with hub.open("t", cursor="mirror"):
            pass
        await hub.publish("t")
        hub.sources = [source()]
        hub.alerts.rules = [BacklogRule(Subject("cursor", "mirror", "/sub/t"), 1, 0)]
        assert await hub.after(20) == [("mirror", "firing")]
        assert await hub.after(EVERY_S + MINUTE) == [("mirror", "firing"), FIRING]


async def test_a_shorter_expectation_counts_from_the_last_delivery(
    autojump_clock: MockClock, log: MemoryLog, wall: Clock
) -> None:
    async with watching(log, wall, source(every_s=100 * EVERY_S)) as hub:
        await hub.deliver()
        assert await hub.after(EVERY_S) == []
        hub.sources = [source(every_s=EVERY_S // 2)]
        assert await hub.after(20) == [FIRING]


async def test_a_rule_with_other_numbers_begins_anew_and_ends_nothing(
    autojump_clock: MockClock, log: MemoryLog, wall: Clock
) -> None:
    subject = Subject("cursor", "mirror", "/sub/t")
    async with watching(log, wall, rules=[BacklogRule(subject, 1, 0)]) as hub:
        async with hub.open("t", cursor="mirror"):
            pass
        await hub.publish("t")
        assert await hub.after(20) == [("mirror", "firing")]
        hub.alerts.rules = [BacklogRule(subject, 1, MINUTE)]
        assert await hub.after(2 * MINUTE) == [("mirror", "firing")]
        hub.alerts.rules = [BacklogRule(subject, 2, MINUTE)]
        assert await hub.after(20) == [("mirror", "firing"), ("mirror", "resolved")]


@pytest.mark.parametrize("restarted", [False, True])
async def test_an_alert_about_what_is_no_longer_watched_is_resolved(
    autojump_clock: MockClock, log: MemoryLog, wall: Clock, restarted: bool
) -> None:
    async with watching(log, wall, source()) as hub:
        await hub.after(2 * EVERY_S)
        hub.sources = [] if not restarted else hub.sources
        await hub.after(20)
    async with watching(log, wall) as hub:
        assert await hub.after(20) == [FIRING, RESOLVED]
        assert (await hub.told())[1]["sentence"] == f"the source {SHOP} is no longer watched"
        assert await log.cursors("alert ") == []


# -- failures


async def test_what_could_not_be_stored_is_told_later_and_once(autojump_clock: MockClock, wall: Clock) -> None:
    log = WorkingLog(clock_us=wall)
    async with watching(log, wall, source()) as hub:
        await hub.after(MINUTE)
        log.broken = True
        await pass_time(2 * EVERY_S)
        log.broken = False
        assert await hub.after(20) == [FIRING]
        assert await hub.after(EVERY_S) == [FIRING]


async def test_what_cannot_be_read_stays_as_it_was_told(autojump_clock: MockClock, wall: Clock) -> None:
    log = WorkingLog(clock_us=wall)
    async with watching(log, wall, source()) as hub:
        assert await hub.after(2 * EVERY_S) == [FIRING]
        log.broken = True
        await pass_time(EVERY_S)
        log.broken = False
        assert await hub.after(MINUTE) == [FIRING]


async def test_a_look_that_changes_nothing_stores_nothing_but_the_time_once_a_minute(
    autojump_clock: MockClock, wall: Clock
) -> None:
    log = WorkingLog(clock_us=wall)
    async with watching(log, wall, source()) as hub:
        await hub.after(MINUTE / 2)
        before = log.cursor_commits
        await hub.after(10 * MINUTE)

    assert log.cursor_commits - before == 10
    assert log.head == 0


async def test_a_hub_that_watches_nothing_stores_nothing(autojump_clock: MockClock, wall: Clock) -> None:
    log = WorkingLog(clock_us=wall)
    async with watching(log, wall) as hub:
        await hub.after(10 * MINUTE)

    assert log.cursor_commits == 0


# -- families


async def test_only_one_hub_of_a_family_tells_and_another_goes_on_when_it_ends(
    autojump_clock: MockClock, wall: Clock
) -> None:
    family = Family(clock_us=wall)
    async with watching(family.hub("b"), wall, source()) as b:
        async with watching(family.hub("a"), wall, source()) as a:
            await b.deliver()
            assert await a.after(2 * EVERY_S) == [FIRING]
            assert await a.alerts.firing() == await b.alerts.firing()
        assert await b.after(EVERY_S) == [FIRING]
        await b.deliver()
        assert await b.after(20) == [FIRING, RESOLVED]


async def test_a_delivery_at_another_hub_is_heard(autojump_clock: MockClock, wall: Clock) -> None:
    family = Family(clock_us=wall)
    async with watching(family.hub("a"), wall, source()) as a:
        await a.after(MINUTE)
        async with watching(family.hub("b"), wall, source()) as b:
            await a.after(15 * MINUTE)
            await b.deliver()
            assert await a.after(15 * MINUTE) == []


async def test_a_hub_that_has_lost_the_duty_without_noticing_tells_nothing(
    autojump_clock: MockClock, wall: Clock
) -> None:
    family = Family(clock_us=wall)
    frozen = family.hub("a")
    async with watching(frozen, wall, source()) as a:
        await a.after(MINUTE)
        frozen.duties.frozen = True
        async with watching(family.hub("b"), wall, source()) as b:
            await family.hub("b").duties.claim("alerts", takeover=True)
            assert await b.after(2 * EVERY_S) in ([], [FIRING])
            assert await b.after(2 * EVERY_S) == [FIRING]
