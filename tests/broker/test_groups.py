"""Groups: opened by their first member, resting after their last, found again."""

from contextlib import AsyncExitStack

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from hookbot.errors import Refused, Unavailable
from hookbot.log.memory import MemoryLog
from hookbot.log.sqlite import SqliteLog
from hookbot.protocol.since import AfterId, FromOldest
from support.clock import pass_time
from support.consumers import ConsumerHub, ack_each, join, listening, open_hub, take, take_marked, takes_nothing


async def test_a_new_group_starts_now_and_is_saved_before_its_member_hears_of_it(hub: ConsumerHub) -> None:
    await hub.publish("t", "t")

    async with join(hub) as member:
        generation = member.hello["generation"]
        assert member.hello == {"group": "g", "position": hub.id(2), "generation": generation}
        assert await hub.saved("group") == {"group /sub/t g": 2}
        await hub.publish("t")
        assert await take(member, 1) == [3]


async def test_a_group_whose_members_all_left_keeps_its_place(hub: ConsumerHub) -> None:
    async with join(hub) as member:
        await hub.publish("t", "t", "t", "t")
        await take(member, 4)
        ack_each(member, hub, 1, 3)
    await hub.publish("t")

    async with join(hub) as member:
        assert member.hello["position"] == hub.id(1)
        assert await take_marked(member, 3) == [(2, True), (4, True), (5, False)]


async def test_after_a_restart_a_group_is_sent_only_what_is_not_acknowledged(log: MemoryLog | SqliteLog) -> None:
    async with open_hub(log) as hub, join(hub) as member:
        await hub.publish("t", "t", "t", "other", "t", "t")
        await take(member, 5)
        ack_each(member, hub, 1, 3, 5)
        generation = member.hello["generation"]

    for _ in range(2):
        async with open_hub(log) as hub, join(hub) as member:
            assert member.hello == {"group": "g", "position": hub.id(1), "generation": generation}
            assert await take_marked(member, 2) == [(2, True), (6, True)]
            assert await takes_nothing(member)


@pytest.mark.parametrize("by_topic", [True, False])
async def test_after_a_restart_a_topic_that_is_stuck_is_sent_again_and_none_of_the_others(
    log: MemoryLog | SqliteLog, by_topic: bool
) -> None:
    topics = ["t/stuck", *["t/a", "t/b"] * 150, "t/stuck"]
    async with open_hub(log) as hub, join(hub, "t/", by_topic=by_topic) as member:
        await hub.publish(*topics)
        await take(member, 302)
        ack_each(member, hub, *range(2, 302))

    async with open_hub(log) as hub, join(hub, "t/", by_topic=by_topic) as member:
        await hub.publish("t/a")
        assert await take(member, 3) == [1, 302, 303]


async def test_what_is_acknowledged_beyond_the_position_is_saved_while_the_members_stay(
    memory_hub: ConsumerHub, autojump_clock: MockClock
) -> None:
    hub = memory_hub
    async with join(hub, since=FromOldest()) as member:
        await hub.publish("t", "t", "t")
        await take(member, 3)
        ack_each(member, hub, 3)
        await pass_time(1)

        # As after a crash: the hub does not get to save anything more.
        async with open_hub(hub.log) as other, join(other) as newcomer:
            assert await take(newcomer, 2) == [1, 2]
            assert await takes_nothing(newcomer)


async def test_what_was_received_before_a_restart_may_be_acknowledged_after_it(log: MemoryLog | SqliteLog) -> None:
    async with open_hub(log) as hub, join(hub) as member:
        await hub.publish("t", "t", "t", "t")
        await take(member, 4)

    async with open_hub(log) as hub, join(hub) as member:
        ack_each(member, hub, 3, 1)
        assert await take(member, 2) == [2, 4]
        with pytest.raises(Refused, match="has not been sent yet"):
            ack_each(member, hub, 5)


async def test_a_group_that_was_moved_forgets_what_was_acknowledged(log: MemoryLog | SqliteLog) -> None:
    async with open_hub(log) as hub:
        async with join(hub) as member:
            await hub.publish("t", "t", "t")
            await take(member, 3)
            ack_each(member, hub, 1, 3)
            generation = member.hello["generation"]
        await hub.consumers.move("group", "/sub/t", "g", FromOldest())

    async with open_hub(log) as hub, join(hub) as member:
        assert member.hello["generation"] != generation
        assert await take_marked(member, 3) == [(1, False), (2, False), (3, False)]


async def test_a_group_is_saved_while_its_members_stay(memory_hub: ConsumerHub, autojump_clock: MockClock) -> None:
    hub = memory_hub
    async with join(hub) as member:
        await hub.publish("t", "other", "t")
        await take(member, 2)
        ack_each(member, hub, 1)
        await pass_time(1)

        assert await hub.saved("group") == {"group /sub/t g": 2}


async def test_the_members_of_a_group_want_the_same_order(hub: ConsumerHub) -> None:
    async with join(hub, by_topic=True):
        with pytest.raises(Refused, match="the other members of the group g subscribed with key=topic"):
            hub.consumers.check_request(listening(group="g"))
        with pytest.raises(Refused, match="key=topic"):
            async with join(hub):
                pass
        async with join(hub, by_topic=True):
            pass
    async with join(hub):
        hub.consumers.check_request(listening(group="g"))


async def test_a_new_group_may_start_anywhere(hub: ConsumerHub) -> None:
    await hub.publish("t", "t", "t")
    async with join(hub, since=AfterId(hub.log.epoch, 1)) as member:
        assert await take(member, 2) == [2, 3]


async def test_two_who_make_the_same_group_at_once_are_members_of_one(hub: ConsumerHub) -> None:
    received = []

    async def work() -> None:
        async with join(hub, since=FromOldest(), max_unacked=3) as member:
            received.extend(await take(member, 3))
            await wait_all_tasks_blocked(0.05)

    await hub.publish(*["t"] * 6)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(work)
        nursery.start_soon(work)

    assert sorted(received) == [1, 2, 3, 4, 5, 6]


async def test_a_group_that_cannot_be_saved_is_not_opened_and_can_be_later(
    memory_hub: ConsumerHub, autojump_clock: MockClock
) -> None:
    hub = memory_hub
    hub.log.broken = True
    with pytest.raises(Unavailable, match="disk is full"):
        async with join(hub):
            pass

    hub.log.broken = False
    await hub.publish("t")
    async with join(hub) as member:
        assert await take(member, 1) == [1]  # since the first time it was asked for


async def test_nothing_is_remembered_of_a_group_that_was_deleted(
    memory_hub: ConsumerHub, autojump_clock: MockClock
) -> None:
    hub = memory_hub
    async with join(hub) as member:
        await hub.publish("t", "t")
        await take(member, 2)
        ack_each(member, hub, 2)
    await hub.consumers.delete("group", "/sub/t", "g")

    async with join(hub, since=FromOldest()) as member:
        assert await take_marked(member, 2) == [(1, False), (2, False)]


async def test_what_was_acknowledged_is_remembered_while_a_group_has_no_members(
    memory_hub: ConsumerHub, autojump_clock: MockClock
) -> None:
    hub = memory_hub
    await hub.publish("t", "t", "t")
    async with join(hub, since=FromOldest()) as member:
        await take(member, 3)
        ack_each(member, hub, 2)

    await pass_time(10)

    async with join(hub) as member:
        assert await take_marked(member, 2) == [(1, True), (3, True)]


async def test_a_member_of_a_deleted_group_that_leaves_late_does_not_end_the_new_one(hub: ConsumerHub) -> None:
    async with AsyncExitStack() as late:
        await late.enter_async_context(join(hub))
        await hub.consumers.delete("group", "/sub/t", "g")

        async with join(hub) as member:
            await late.aclose()
            await hub.publish("t")
            assert await take(member, 1) == [1]
            async with join(hub):
                assert len(await hub.consumers.list()) == 1
