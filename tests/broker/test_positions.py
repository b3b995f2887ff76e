"""Positions: saved, moved along with the head while idle, and deleted when unused."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from hookbot.access.quotas import Quota, Quotas
from hookbot.broker.positions import SWEEP_INTERVAL_S
from hookbot.broker.room import MAX_PER_PATH
from hookbot.errors import Refused
from hookbot.log.contract import Page
from hookbot.log.sqlite import open_sqlite_log
from hookbot.protocol.since import AfterId, FromOldest, SinceTime
from support.clock import START_US, Clock, pass_time, trusted
from support.consumers import ConsumerHub, WorkingLog, ack, open_hub, shown, take
from support.damage import lose_bodies

SWEPT_S = SWEEP_INTERVAL_S + 1


@pytest.fixture
def log() -> WorkingLog:
    return WorkingLog()


@pytest.fixture
async def hub(log: WorkingLog) -> AsyncIterator[ConsumerHub]:
    async with open_hub(log) as hub:
        yield hub


async def test_many_acks_become_few_commits(hub: ConsumerHub, autojump_clock: MockClock) -> None:
    await hub.publish(*["t"] * 200)
    async with hub.open(cursor="a", since=FromOldest()) as a, hub.open(cursor="b", since=FromOldest()) as b:
        await take(a, 200)
        await take(b, 200)
        hub.log.cursor_commits = 0

        for position in range(1, 201):
            ack(a, hub, position)
            ack(b, hub, position)
            await pass_time(0.001)
        await pass_time(1)

        assert hub.log.cursor_commits == 3
        assert await hub.saved() == {"cursor /sub/t a": 200, "cursor /sub/t b": 200}


async def test_an_ack_is_saved_soon_while_its_client_stays_connected(
    hub: ConsumerHub, autojump_clock: MockClock
) -> None:
    await hub.publish("t", "t")
    async with hub.open(cursor="c", since=FromOldest()) as cursor:
        await take(cursor, 2)
        ack(cursor, hub, 1)
        await pass_time(0.2)

        assert await hub.saved() == {"cursor /sub/t c": 1}


async def test_a_quiet_cursor_that_is_connected_follows_the_head_without_a_commit_for_each_step(
    hub: ConsumerHub, autojump_clock: MockClock
) -> None:
    async with hub.open(cursor="c") as cursor:
        await pass_time(1)
        hub.log.cursor_commits = 0
        for _ in range(20):
            await hub.publish("other")
            cursor.skip_unwanted()
            await pass_time(0.5)
        assert hub.log.cursor_commits == 0

        await pass_time(SWEPT_S)
        assert await hub.saved() == {"cursor /sub/t c": 20}
        assert hub.log.cursor_commits == 1


async def test_a_quiet_cursor_of_which_nobody_holds_on_follows_the_head_so_that_no_false_gap_opens(
    hub: ConsumerHub, autojump_clock: MockClock
) -> None:
    async with hub.open(cursor="c"):
        pass
    await hub.publish("other", "other", "other")
    await pass_time(SWEPT_S)
    await hub.trim(0)

    async with hub.open(cursor="c") as cursor:
        await hub.publish("t")
        assert await take(cursor, 1) == [4]


async def test_a_cursor_for_which_messages_wait_stays_before_them(hub: ConsumerHub, autojump_clock: MockClock) -> None:
    async with hub.open(cursor="c"):
        pass
    await hub.publish("other", "t", "other")
    await pass_time(2 * SWEPT_S)

    assert await hub.saved() == {"cursor /sub/t c": 1}
    async with hub.open(cursor="c") as cursor:
        assert await take(cursor, 1) == [2]


async def test_a_cursor_that_had_messages_follows_the_head_again_when_it_is_done_with_them(
    hub: ConsumerHub, autojump_clock: MockClock
) -> None:
    async with hub.open(cursor="c"):
        pass
    await hub.publish("t")
    await pass_time(SWEPT_S)
    async with hub.open(cursor="c") as cursor:
        await take(cursor, 1)
        ack(cursor, hub, 1)
    await hub.publish("other")
    await pass_time(SWEPT_S)

    assert await hub.saved() == {"cursor /sub/t c": 2}


async def test_a_cursor_that_retention_has_overtaken_stays_where_it_is_so_that_the_gap_is_told(
    hub: ConsumerHub, autojump_clock: MockClock
) -> None:
    async with hub.open(cursor="c"):
        pass
    await hub.publish("t", "other")
    await hub.trim(0)
    await pass_time(2 * SWEPT_S)

    async with hub.open(cursor="c") as cursor:
        assert await take(cursor, 1) == [(None, 3)]


async def test_a_cursor_is_not_moved_while_the_log_cannot_be_read(hub: ConsumerHub, autojump_clock: MockClock) -> None:
    async with hub.open(cursor="c"):
        await pass_time(1)
    await pass_time(1)
    await hub.publish("other")
    hub.log.broken = True
    await pass_time(SWEPT_S)
    hub.log.broken = False

    assert await hub.saved() == {"cursor /sub/t c": 0}
    await pass_time(SWEPT_S)
    assert await hub.saved() == {"cursor /sub/t c": 1}


async def test_what_could_not_be_saved_is_saved_when_the_log_works_again(
    hub: ConsumerHub, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    await hub.publish("t")
    async with hub.open(cursor="c", since=FromOldest()) as cursor:
        await take(cursor, 1)
        hub.log.broken = True
        ack(cursor, hub, 1)
        await pass_time(5)
        hub.log.broken = False
        await pass_time(5)

        assert await hub.saved() == {"cursor /sub/t c": 1}
    assert "positions of cursors and groups were not saved, trying again: the disk is full" in caplog.text


async def test_everything_is_saved_when_the_hub_shuts_down(log: WorkingLog, autojump_clock: MockClock) -> None:
    async with open_hub(log) as hub:
        await hub.publish("t")
        async with hub.open(cursor="c", since=FromOldest()) as cursor:
            await take(cursor, 1)
            ack(cursor, hub, 1)
            await hub.publish("other")
            cursor.skip_unwanted()

    assert [cursor.position for cursor in await log.cursors("cursor ")] == [2]


async def test_a_cursor_that_nobody_has_used_for_thirty_days_ends(log: WorkingLog, autojump_clock: MockClock) -> None:
    clock = Clock(runs=True)
    async with open_hub(log, clock=clock) as hub:
        async with hub.open(cursor="c"):
            pass
        await hub.publish("t")
        clock.skip(days=29.9)
        await pass_time(SWEPT_S)
        assert await hub.saved() == {"cursor /sub/t c": 0}

        clock.skip(days=0.2)
        await pass_time(SWEPT_S)
        assert await log.cursors() == []

        async with hub.open(cursor="c") as cursor:
            assert cursor.hello["position"] == hub.id(1)


async def test_a_cursor_is_not_older_because_the_clock_jumped(log: WorkingLog, autojump_clock: MockClock) -> None:
    wall = Clock(runs=True)
    async with open_hub(log, clock=trusted(wall)) as hub:
        async with hub.open(cursor="c"):
            pass
        wall.skip(days=31)
        # Until the jump is believed, and longer.
        for _ in range(20):
            await pass_time(SWEPT_S)

        assert await hub.saved() == {"cursor /sub/t c": 0}


async def test_the_thirty_days_begin_when_the_connection_ends(log: WorkingLog, autojump_clock: MockClock) -> None:
    clock = Clock(runs=True)
    async with open_hub(log, clock=clock) as hub:
        async with hub.open(cursor="c"):
            clock.skip(days=0.9)
        clock.skip(days=29.5)
        await pass_time(SWEPT_S)

        assert await hub.saved() == {"cursor /sub/t c": 0}


@pytest.mark.slow
async def test_a_cursor_that_is_connected_is_in_use_however_quiet_it_is_and_whenever_the_hub_dies(
    log: WorkingLog, autojump_clock: MockClock
) -> None:
    clock = Clock(runs=True)
    async with open_hub(log, clock=clock) as hub, hub.open(cursor="c"):
        for _ in range(40):
            clock.skip(days=1)
            await pass_time(SWEPT_S)
        saved = {cursor.name: cursor.position for cursor in await log.cursors("used ")}

    assert saved["used cursor /sub/t c"] > clock() // 1_000_000 - 3 * 86400


async def test_that_the_hub_moves_a_quiet_cursor_does_not_count_as_use(
    log: WorkingLog, autojump_clock: MockClock
) -> None:
    clock = Clock(runs=True)
    for _ in range(4):  # the hub is restarted in between
        async with open_hub(log, clock=clock) as hub:
            if not await log.cursors("cursor "):
                async with hub.open(cursor="c"):
                    pass
            await hub.publish("other")
            clock.skip(days=9)
            await pass_time(SWEPT_S)
            left = list(await hub.saved())

    assert left == []


class MeddledLog(WorkingLog):
    """A log that lets something else happen during its first read."""

    meddle: Callable[[], Awaitable[None]] | None = None

    async def read(self, *args: Any, **options: Any) -> Page:
        if self.meddle:
            meddle, self.meddle = self.meddle, None
            await meddle()
        return await super().read(*args, **options)


async def test_cursors_that_are_deleted_moved_or_used_while_all_are_looked_after_are_left_alone(
    autojump_clock: MockClock,
) -> None:
    log, cursors = MeddledLog(), AsyncExitStack()
    async with open_hub(log) as hub, cursors:
        for name in "abc":
            async with hub.open(cursor=name):
                pass
        await hub.publish("other", "other")

        async def meddle() -> None:
            await hub.consumers.move("cursor", "/sub/t", "a", AfterId(hub.log.epoch, 1))
            await hub.consumers.delete("cursor", "/sub/t", "b")
            await cursors.enter_async_context(hub.open(cursor="c"))

        log.meddle = meddle
        await pass_time(SWEPT_S)

        assert log.meddle is None
        assert await hub.saved() == {"cursor /sub/t a": 1, "cursor /sub/t c": 0}


async def test_a_path_has_room_for_so_many_cursors_and_groups(hub: ConsumerHub, autojump_clock: MockClock) -> None:
    for number in range(MAX_PER_PATH):
        async with hub.open(**{"group" if number % 2 else "cursor": f"c{number}"}):
            pass

    with pytest.raises(Refused, match="'/sub/t' has 100 cursors and groups already; delete one of them first"):
        async with hub.open(cursor="more"):
            pass
    async with hub.open(cursor="c0"), hub.open("elsewhere", cursor="more"):
        assert len(await hub.consumers.list("/sub/t")) == MAX_PER_PATH


async def test_those_who_come_at_once_do_not_get_past_a_limit(autojump_clock: MockClock) -> None:
    of_cursors = Quotas([Quota("t", {"cursors": 2}, {"cursors": 2})]).of_cursors
    outcomes = []

    async def listen(hub: ConsumerHub, name: str) -> None:
        try:
            async with hub.open(cursor=name, since=SinceTime(START_US)):
                outcomes.append("opened")
        except Refused:
            outcomes.append("refused")

    async with open_hub(WorkingLog(), limits_of=of_cursors) as hub:
        await hub.publish("t")
        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(listen, hub, f"c{number}")
        assert list(hub.consumers.paths()) == ["/sub/t", "/sub/t"]

    assert sorted(outcomes) == ["opened"] * 2 + ["refused"] * 3


async def test_a_new_cursor_whose_connection_breaks_before_an_ack_is_told_of_the_gap_again(
    hub: ConsumerHub, autojump_clock: MockClock
) -> None:
    await hub.publish(*["t"] * 5)
    await hub.trim(2)

    async with hub.open(cursor="c", since=AfterId(hub.log.epoch, 1)) as cursor:
        assert await take(cursor, 1) == [(1, 4)]
    assert await hub.saved() == {"cursor /sub/t c": 1}

    async with hub.open(cursor="c") as cursor:
        assert await take(cursor, 3) == [(1, 4), 4, 5]


async def test_a_revoked_claim_is_released_without_a_trace(hub: ConsumerHub, autojump_clock: MockClock) -> None:
    async with hub.open(cursor="c"):
        await hub.consumers.delete("cursor", "/sub/t", "c")

    assert await hub.saved() == {}


async def test_a_cursor_is_not_moved_past_damage_so_that_the_gap_is_told(tmp_path: Path) -> None:
    async with open_sqlite_log(tmp_path) as log, open_hub(log) as hub:
        async with hub.open(cursor="c", since=FromOldest()):
            pass
        await hub.publish("t", "t", "t")
        lose_bodies(tmp_path, 1)

        await hub.consumers._positions.sweep()
        async with hub.open(cursor="c") as cursor:
            assert shown(await cursor.take()) == [(None, 2)]
