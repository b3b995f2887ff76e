"""Cursors: each resumes after the last message that is acknowledged, whatever happens in between."""

from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from hookbot.errors import Ended, Refused, Unavailable
from hookbot.log.memory import MemoryLog
from hookbot.log.sqlite import SqliteLog
from hookbot.protocol.since import AfterId, FromOldest
from support import GUARD_S
from support.consumers import ConsumerHub, ack, listening, open_hub, shown, take, takes_nothing


async def test_a_new_cursor_starts_now_and_is_saved_before_its_client_hears_of_it(hub: ConsumerHub) -> None:
    await hub.publish("t", "t")

    async with hub.open(cursor="c") as cursor:
        generation = cursor.hello["generation"]
        assert cursor.hello == {"cursor": "c", "position": hub.id(2), "generation": generation}
        assert await hub.saved() == {"cursor /sub/t c": 2}
        await hub.publish("t")
        assert await take(cursor, 1) == [3]


async def test_a_new_cursor_starts_where_it_was_asked_to(hub: ConsumerHub) -> None:
    await hub.publish("t", "t", "t")

    async with hub.open(cursor="all", since=FromOldest()) as cursor:
        assert await take(cursor, 3) == [1, 2, 3]
    async with hub.open(cursor="some", since=AfterId(hub.log.epoch, 2)) as cursor:
        assert await take(cursor, 1) == [3]


async def test_a_cursor_goes_on_after_what_was_acknowledged_wherever_it_asks_to_start(hub: ConsumerHub) -> None:
    await hub.publish("t", "t", "t")
    async with hub.open(cursor="c", since=FromOldest()) as cursor:
        assert await take(cursor, 3) == [1, 2, 3]
        ack(cursor, hub, 2)

    async with hub.open(cursor="c", since=FromOldest()) as cursor:
        assert cursor.hello["position"] == hub.id(2)
        assert await take(cursor, 1) == [3]


async def test_a_cursor_goes_on_in_a_hub_that_was_restarted(log: MemoryLog | SqliteLog) -> None:
    async with open_hub(log) as hub:
        await hub.publish("t", "t", "t")
        async with hub.open(cursor="c", since=FromOldest()) as cursor:
            await take(cursor, 3)
            ack(cursor, hub, 1)

    async with open_hub(log) as hub, hub.open(cursor="c") as cursor:
        assert await take(cursor, 2) == [2, 3]


async def test_what_comes_while_nobody_is_connected_waits(hub: ConsumerHub) -> None:
    async with hub.open(cursor="c"):
        pass
    await hub.publish("t", "other", "t")

    async with hub.open(cursor="c") as cursor:
        assert await take(cursor, 2) == [1, 3]


async def test_an_ack_is_of_everything_up_to_it_and_an_older_one_changes_nothing(hub: ConsumerHub) -> None:
    await hub.publish("t", "t", "t")
    async with hub.open(cursor="c", since=FromOldest()) as cursor:
        await take(cursor, 3)
        ack(cursor, hub, 3)
        ack(cursor, hub, 3)
        ack(cursor, hub, 1)

    async with hub.open(cursor="c") as cursor:
        assert cursor.hello["position"] == hub.id(3)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ("ack", "not an acknowledgement for a cursor"),
        ({"type": "nack", "id": "x"}, "not an acknowledgement for a cursor"),
        ({"type": "ack"}, "not an acknowledgement for a cursor"),
        ({"type": "ack", "ids": ["x"]}, "not an acknowledgement for a cursor"),
        ({"type": "ack", "id": 1}, "not the id of a message"),
        ({"type": "ack", "id": None}, "not the id of a message"),
        ({"type": "ack", "id": "tomorrow"}, "not the id of a message"),
        ({"type": "ack", "id": "zzzzzzzz-000000000000001"}, "belongs to another log"),
    ],
)
async def test_an_ack_that_is_none_is_refused_and_changes_nothing(
    memory_hub: ConsumerHub, answer: str | dict[str, Any], why: str, autojump_clock: MockClock
) -> None:
    await memory_hub.publish("t")
    async with memory_hub.open(cursor="c", since=FromOldest()) as cursor:
        await take(cursor, 1)
        with pytest.raises(Refused, match=why):
            cursor.ack(answer)

    assert await memory_hub.saved() == {"cursor /sub/t c": 0}


async def test_what_was_not_sent_yet_cannot_be_acknowledged(hub: ConsumerHub) -> None:
    await hub.publish("t", "t")
    async with hub.open(cursor="c", since=FromOldest(), max_unacked=1) as cursor:
        await take(cursor, 1)

        with pytest.raises(Refused, match="has not been sent yet"):
            ack(cursor, hub, 2)

        ack(cursor, hub, 1)
        assert await take(cursor, 1) == [2]


async def test_no_more_is_sent_than_may_be_unacknowledged(memory_hub: ConsumerHub, autojump_clock: MockClock) -> None:
    hub = memory_hub
    await hub.publish(*["t"] * 5)
    async with hub.open(cursor="c", since=FromOldest(), max_unacked=2) as cursor:
        assert await take(cursor, 2) == [1, 2]
        assert await takes_nothing(cursor)

        ack(cursor, hub, 1)
        assert await take(cursor, 1) == [3]
        assert await takes_nothing(cursor)


async def test_an_ack_lets_a_client_that_waits_have_more(hub: ConsumerHub) -> None:
    await hub.publish("t", "t")
    async with hub.open(cursor="c", since=FromOldest(), max_unacked=1) as cursor, trio.open_nursery() as nursery:
        await take(cursor, 1)

        @nursery.start_soon
        async def ack_later() -> None:
            await wait_all_tasks_blocked()
            ack(cursor, hub, 1)

        assert await take(cursor, 1) == [2]


async def test_a_client_that_acknowledges_one_by_one_gets_a_long_history_in_order(hub: ConsumerHub) -> None:
    await hub.publish(*["t"] * 40)
    received: list[int] = []
    async with hub.open(cursor="c", since=FromOldest(), max_unacked=3) as cursor:
        while len(received) < 40:
            received += shown(await cursor.take())
            ack(cursor, hub, received[-1])

    assert received == list(range(1, 41))


async def test_a_wait_that_is_cut_short_loses_nothing(memory_hub: ConsumerHub, autojump_clock: MockClock) -> None:
    async with memory_hub.open(cursor="c") as cursor:
        assert await takes_nothing(cursor)
        await memory_hub.publish("t")
        assert await take(cursor, 1) == [1]


async def test_a_second_connection_waits_for_the_first(hub: ConsumerHub) -> None:
    await hub.publish("t", "t")
    opened = trio.Event()

    async def connect_second() -> None:
        async with hub.open(cursor="c") as cursor:
            opened.set()
            assert await take(cursor, 1) == [2]

    async with trio.open_nursery() as nursery, hub.open(cursor="c", since=FromOldest()) as first:
        nursery.start_soon(connect_second)
        await wait_all_tasks_blocked()
        assert not opened.is_set()
        await take(first, 2)
        ack(first, hub, 1)


async def test_of_many_connections_that_wait_each_gets_its_turn(hub: ConsumerHub) -> None:
    turns = []

    async def connect(n: int) -> None:
        async with hub.open(cursor="c"):
            turns.append(n)
            await wait_all_tasks_blocked()

    async with trio.open_nursery() as nursery:
        for n in range(5):
            nursery.start_soon(connect, n)

    assert sorted(turns) == [0, 1, 2, 3, 4]


async def test_a_connection_that_takes_over_has_the_cursor_at_once_and_the_first_has_nothing_any_more(
    hub: ConsumerHub,
) -> None:
    await hub.publish("t", "t")
    async with hub.open(cursor="c", since=FromOldest()) as first:
        await take(first, 2)
        ack(first, hub, 1)

        async with hub.open(cursor="c", takeover=True) as second:
            ack(first, hub, 2)
            assert await take(second, 1) == [2]
            with pytest.raises(Ended, match="took over") as ended:
                await first.take()

    assert ended.value.code == 4001


async def test_a_connection_that_waits_for_messages_hears_that_the_cursor_was_taken_over(hub: ConsumerHub) -> None:
    heard = []
    opened = trio.Event()

    async def connect_first() -> None:
        async with hub.open(cursor="c") as first:
            opened.set()
            try:
                await first.take()
            except Ended as ended:
                heard.append(ended.code)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(connect_first)
        await opened.wait()
        await wait_all_tasks_blocked()
        async with hub.open(cursor="c", takeover=True):
            await wait_all_tasks_blocked()
            assert heard == [4001]


async def test_a_connection_that_was_taken_over_does_not_free_the_cursor_by_leaving(hub: ConsumerHub) -> None:
    first = hub.open(cursor="c")
    await first.__aenter__()
    async with hub.open(cursor="c", takeover=True) as second:
        await first.__aexit__(None, None, None)
        assert (await hub.consumers.list())[0].connected
        await hub.publish("t")
        assert await take(second, 1) == [1]


async def test_a_connection_that_was_taken_over_no_longer_moves_the_cursor(hub: ConsumerHub) -> None:
    async with hub.open(cursor="c") as first, hub.open(cursor="c", takeover=True):
        await hub.publish("other")

        assert first.skip_unwanted() == 0


async def test_what_was_sent_on_the_connection_before_may_be_acknowledged_on_the_next(
    memory_hub: ConsumerHub, autojump_clock: MockClock
) -> None:
    hub = memory_hub
    await hub.publish("t", "t", "t")
    async with hub.open(cursor="c", since=FromOldest(), max_unacked=2) as cursor:
        await take(cursor, 2)

    async with hub.open(cursor="c") as cursor:
        ack(cursor, hub, 2)
        assert await take(cursor, 1) == [3]


async def test_what_a_hub_has_sent_before_it_died_may_be_acknowledged_to_the_next(log: MemoryLog | SqliteLog) -> None:
    async with open_hub(log) as hub:
        await hub.publish("t", "t", "t")
        async with hub.open(cursor="c", since=FromOldest()) as cursor:
            await take(cursor, 2)

    async with open_hub(log) as hub, hub.open(cursor="c") as cursor:
        ack(cursor, hub, 2)
        assert await take(cursor, 1) == [3]


async def test_names_and_paths_are_cursors_of_their_own(hub: ConsumerHub) -> None:
    async with (
        hub.open("a", cursor="x") as a,
        hub.open("a/", cursor="x") as below_a,
        hub.open("a?recursive", cursor="x") as all_a,
        hub.open("/unsafe/a", cursor="x") as unsafe_a,
        hub.open("a", cursor="y"),
    ):
        await hub.publish("a", "a/b", "/unsafe/a")
        assert await take(a, 1) == [1]
        assert await take(below_a, 1) == [2]
        assert await take(all_a, 2) == [1, 2]
        assert await take(unsafe_a, 1) == [3]

    assert set(await hub.saved()) == {
        "cursor /sub/a x",
        "cursor /sub/a/ x",
        "cursor /sub/a?recursive x",
        "cursor /unsafe/sub/a x",
        "cursor /sub/a y",
    }


async def test_a_connected_cursor_moves_over_what_is_not_of_its_subscription(hub: ConsumerHub) -> None:
    await hub.publish("t")
    async with hub.open(cursor="c", since=FromOldest()) as cursor:
        await take(cursor, 1)
        await hub.publish("other", "other")
        assert cursor.skip_unwanted() == 3  # all of it was sent

        assert (await hub.consumers.list())[0].position == hub.id(0)
        ack(cursor, hub, 1)
        assert cursor.skip_unwanted() == 3
        assert (await hub.consumers.list())[0].position == hub.id(3)


async def test_what_waits_for_room_is_not_told_as_sent(memory_hub: ConsumerHub, autojump_clock: MockClock) -> None:
    hub = memory_hub
    async with hub.open(cursor="c", max_unacked=1) as cursor:
        await hub.publish("t", "t", "other")
        assert await take(cursor, 1) == [1]
        assert await takes_nothing(cursor)

        assert cursor.skip_unwanted() == 1


async def test_the_id_of_a_heartbeat_may_be_acknowledged(hub: ConsumerHub) -> None:
    async with hub.open(cursor="c") as cursor:
        await hub.publish("other", "other")

        ack(cursor, hub, cursor.skip_unwanted())

    assert (await hub.consumers.list())[0].lag == 0


async def test_a_gap_is_told_when_retention_has_overtaken_a_cursor_and_again_until_something_is_acknowledged(
    hub: ConsumerHub,
) -> None:
    async with hub.open(cursor="c"):
        await hub.publish("t", "t", "t", "t")
        await hub.trim(1)

    for _ in range(2):
        async with hub.open(cursor="c") as cursor:
            assert await take(cursor, 2) == [(None, 4), 4]
            cursor.skip_unwanted()

    async with hub.open(cursor="c") as cursor:
        await take(cursor, 2)
        ack(cursor, hub, 4)
    async with hub.open(cursor="c") as cursor:
        await hub.publish("t")
        assert await take(cursor, 1) == [5]


async def test_what_is_deleted_before_it_is_handed_out_is_left_out(hub: ConsumerHub) -> None:
    await hub.publish(*["t"] * 5)
    async with hub.open(cursor="c", since=FromOldest(), max_unacked=2) as cursor:
        assert await take(cursor, 2) == [1, 2]

        await hub.broker.delete([2, 3, 5])
        await hub.publish("t")
        ack(cursor, hub, 2)

        assert await take(cursor, 2) == [4, 6]


async def test_a_gap_takes_no_room_from_the_message_after_it(hub: ConsumerHub) -> None:
    async with hub.open(cursor="c"):
        await hub.publish("t", "t")
        await hub.trim(1)

    async with hub.open(cursor="c", max_unacked=1) as cursor:
        assert await take(cursor, 2) == [(None, 2), 2]


async def test_a_gap_before_the_first_message_of_a_new_cursor_is_not_forgotten_either(hub: ConsumerHub) -> None:
    await hub.publish("t", "t", "t")
    await hub.trim(1)
    for _ in range(2):
        async with hub.open(cursor="c", since=AfterId(hub.log.epoch, 1)) as cursor:
            assert await take(cursor, 2) == [(1, 3), 3]


async def test_a_new_cursor_that_starts_at_an_id_of_another_log_is_told_so(hub: ConsumerHub) -> None:
    await hub.publish("t", "t")
    async with hub.open(cursor="c", since=AfterId("zzzzzzzz", 7)) as cursor:
        [gap] = await cursor.take()
        assert (gap.reason, gap.before) == ("other-log", hub.id(1))
        assert await take(cursor, 2) == [1, 2]


async def test_a_subscription_to_what_is_stored_ends_when_all_of_it_is_acknowledged(hub: ConsumerHub) -> None:
    await hub.publish("t", "t")
    async with hub.open(cursor="c", since=FromOldest(), follow=False) as cursor, trio.open_nursery() as nursery:
        await hub.publish("other")
        assert await take(cursor, 2) == [1, 2]

        @nursery.start_soon
        async def ack_later() -> None:
            await wait_all_tasks_blocked()
            ack(cursor, hub, 2)

        while (taken := await cursor.take()) is not None:
            assert shown(taken) == []


@pytest.mark.parametrize("since", [None, FromOldest()])
async def test_a_subscription_to_what_is_stored_ends_at_once_if_only_other_topics_have_messages(
    hub: ConsumerHub, since: FromOldest | None
) -> None:
    for _ in range(2):
        await hub.publish("other", "other")
        async with hub.open(cursor="c", since=since, follow=False) as cursor:
            await hub.publish("other")
            # Nothing is left that would wake it.
            with trio.fail_after(GUARD_S):
                while (taken := await cursor.take()) is not None:
                    assert shown(taken) == []


async def test_a_cursor_that_reads_the_log_waits_for_nothing(hub: ConsumerHub) -> None:
    await hub.publish("other")
    async with hub.open(cursor="c", since=FromOldest(), max_unacked=1) as cursor:
        assert cursor.is_behind
        assert await cursor.take() == []
        assert not cursor.is_behind

        await hub.publish("t")
        assert await take(cursor, 1) == [2]
    async with hub.open(cursor="c", max_unacked=1) as cursor:
        await hub.publish("t")
        assert cursor.is_behind
        assert await take(cursor, 1) == [2]
        assert not cursor.is_behind


async def test_a_cursor_that_has_waited_for_an_acknowledgement_does_not_read_the_log_out_of_turn(
    hub: ConsumerHub, nursery: trio.Nursery
) -> None:
    await hub.publish("t", "t")
    async with hub.open(cursor="c"):
        await hub.publish("t")
    async with hub.open(cursor="c", max_unacked=1) as cursor:
        await hub.publish("t")
        assert await take(cursor, 1) == [3]

        @nursery.start_soon
        async def ack_later() -> None:
            await wait_all_tasks_blocked()
            ack(cursor, hub, 3)

        assert await cursor.take() == []
        assert await take(cursor, 1) == [4]


async def test_a_path_has_at_most_a_hundred_cursors(hub: ConsumerHub) -> None:
    for n in range(100):
        async with hub.open(cursor=f"c{n}"):
            pass

    hub.consumers.check_request(listening(cursor="c7"))
    hub.consumers.check_request(listening("other", cursor="one-more"))
    with pytest.raises(Refused, match="has 100 cursors and groups already"):
        hub.consumers.check_request(listening(cursor="one-more"))
    with pytest.raises(Refused, match="has 100 cursors and groups already"):
        async with hub.open(cursor="one-more"):
            pass
    async with hub.open(cursor="c7"):
        pass


async def test_a_cursor_that_cannot_be_saved_is_not_opened_and_can_be_later(
    memory_hub: ConsumerHub, autojump_clock: MockClock
) -> None:
    hub = memory_hub
    hub.log.broken = True
    with pytest.raises(Unavailable, match="disk is full"):
        async with hub.open(cursor="c"):
            pass

    hub.log.broken = False
    await hub.publish("t")
    async with hub.open(cursor="c") as cursor:
        assert await take(cursor, 1) == [1]  # since the first time it was asked for


async def test_messages_acknowledged_after_a_restart_before_they_are_sent_again_are_not_sent(
    log: MemoryLog | SqliteLog,
) -> None:
    async with open_hub(log) as hub:
        await hub.publish("t", "t", "t")
        async with hub.open(cursor="c", since=FromOldest()) as cursor:
            await take(cursor, 3)

    async with open_hub(log) as hub, hub.open(cursor="c", max_unacked=1) as cursor:
        assert await take(cursor, 1) == [1]
        ack(cursor, hub, 3)
        await hub.publish("t")
        assert await take(cursor, 1) == [4]
