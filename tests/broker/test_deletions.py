"""Deletions: what is deleted leaves the log and all that this hub has in memory, and nobody is told of a gap."""

from collections.abc import Collection, Sequence

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from hookbot.broker.broker import open_broker
from hookbot.broker.channels import Entry
from hookbot.broker.starts import Start
from hookbot.log.contract import Log
from hookbot.log.retention import STEP_ROWS
from hookbot.protocol.message import Draft, Gap
from hookbot.protocol.topics import TopicFilter
from support.consumers import ConsumerHub

A = TopicFilter.parse("a")


def positions_of(items: Sequence[Entry | Gap]) -> list[int]:
    """Positions of messages; there is no gap."""
    assert not [item for item in items if isinstance(item, Gap)]
    return [item.position for item in items]


async def test_a_subscription_goes_on_without_what_was_deleted(hub: ConsumerHub) -> None:
    broker = hub.broker
    with broker.subscribe(A) as live, broker.subscribe(A) as slow:
        for _ in range(3):
            await broker.publish(Draft("a"))
        assert positions_of(await live.take()) == [1, 2, 3]

        assert await broker.delete([1, 3]) == 2
        await broker.publish(Draft("a"))

        assert positions_of(await slow.take()) == [2, 4]
        assert positions_of(await live.take()) == [4]


async def test_who_waits_is_up_to_date_again_after_deletions_that_are_not_known(hub: ConsumerHub) -> None:
    broker = hub.broker
    with broker.subscribe(A) as subscription:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(subscription.take)
            await wait_all_tasks_blocked()
            await broker.publish(Draft("b"))
            await wait_all_tasks_blocked()

            broker.channels.forget(None)

    assert subscription.skip_unwanted() == 1


async def test_a_page_that_was_cached_is_read_again_without_what_was_deleted(hub: ConsumerHub) -> None:
    broker = hub.broker
    await broker.commit([Draft("a")] * 3)
    assert positions_of((await broker.read(A, after=0))[0]) == [1, 2, 3]

    await broker.delete([2])

    assert positions_of((await broker.read(A, after=0))[0]) == [1, 3]


async def test_no_frame_of_what_was_deleted_is_kept(hub: ConsumerHub) -> None:
    broker = hub.broker
    with broker.subscribe(A) as subscription:
        await broker.publish(Draft("a", b"secret"))
        [entry] = await subscription.take()
        assert isinstance(entry, Entry)
        entry.frame("raw", lambda message: message.body)

        await broker.delete([1])

        assert entry.frame("raw", lambda _: b"another") == b"another"


async def test_the_newest_are_deleted_first_so_that_no_copy_is_left_alone(log: Log) -> None:
    told: list[Collection[int]] = []
    async with open_broker(log) as broker:
        await broker.commit([Draft("a")] * (STEP_ROWS + 1))

        with broker.deletions.told_to(lambda positions: told.append(positions or ())):
            await broker.delete(range(1, STEP_ROWS + 2))

    assert told == [{*range(2, STEP_ROWS + 2)}, {1}]


async def test_publishes_are_stored_between_the_steps_of_a_deletion(log: Log) -> None:
    async with open_broker(log) as broker:
        await broker.commit([Draft("a")] * (3 * STEP_ROWS))
        numbers: list[int] = []

        async def delete() -> None:
            numbers.append(await broker.delete(range(1, 3 * STEP_ROWS + 1)))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(delete)
            for _ in range(3):
                await broker.publish(Draft("a"))

        assert numbers == [3 * STEP_ROWS]
        with broker.subscribe(A, Start(0)) as subscription:
            found: list[int] = []
            while len(found) < 3:
                found += positions_of(await subscription.take())
        assert found == [3 * STEP_ROWS + 1, 3 * STEP_ROWS + 2, 3 * STEP_ROWS + 3]


async def test_what_is_taken_out_in_several_parts_is_erased_once(
    hub: ConsumerHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    deletions, erased = hub.broker.deletions, []
    await hub.broker.commit([Draft("a")] * 4)

    async def erase() -> bool:
        erased.append([entry.position for entry in (await hub.broker.read(A, after=0))[0]])
        return len(erased) < 2

    monkeypatch.setattr(hub.broker.log, "erase", erase)
    numbers = [await deletions.take_out(positions) for positions in ([3, 4], [2, 3])]
    assert (numbers, erased) == ([2, 1], [])
    await deletions.erase()

    assert erased == [[1], [1]]
