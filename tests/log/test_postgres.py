"""The PostgreSQL log: several hubs on one server, and what becomes of them when that fails. `test_contract.py` has the
rest."""

import os
import signal
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import replace
from secrets import token_hex
from threading import Event
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from hookbot.errors import ConfigError, Superseded, Unavailable
from hookbot.log.contract import Unit
from hookbot.log.duties import TRIM, Held
from hookbot.log.postgres import PostgresLog, open_postgres_log
from hookbot.log.postgres_address import PostgresAddress
from hookbot.log.postgres_batch import finish_batch
from hookbot.log.postgres_deletion import delete_step
from hookbot.log.postgres_duty_queries import OwnHub
from hookbot.log.postgres_failovers import JUMP
from hookbot.log.postgres_follower import Follower
from hookbot.log.retention import Retention
from hookbot.log.sealing import Sealing
from hookbot.protocol.message import Draft, Duplicate, Message, Once
from hookbot.protocol.topics import TopicFilter
from support.log_hubs import GUARD_S, Hub, publishing
from support.postgres import PostgresServer, new_schema, running_postgres

EVERYTHING = TopicFilter(("", "/unsafe/"))
KEEP_ALL = Retention(max_age_s=None, max_bytes=None, max_unsafe_bytes=None)


class Family:
    """Hubs that share a log."""

    def __init__(self, server: PostgresServer) -> None:
        self.server = server
        self.schema = new_schema()
        self.address = PostgresAddress.parse(f"{server.url}?schema={self.schema}")

    @asynccontextmanager
    async def hubs(self, count: int) -> AsyncIterator[tuple[Hub, ...]]:
        async with AsyncExitStack() as stack:
            yield tuple([Hub(await stack.enter_async_context(self.open())) for _ in range(count)])

    def open(self, **options: Any) -> AbstractAsyncContextManager[PostgresLog]:
        return open_postgres_log(self.address, OwnHub(token_hex(8), "", "0", ""), **options)

    def execute(self, statement: str) -> list[tuple[object, ...]]:
        return self.server.execute(statement, schema=self.schema)


@pytest.fixture
def family(postgres: PostgresServer) -> Family:
    return Family(postgres)


@pytest.fixture(scope="module")
def own_server() -> Iterator[PostgresServer]:
    """A server for tests that stop it."""
    with running_postgres() as server:
        yield server


@pytest.fixture
def lone_family(own_server: PostgresServer) -> Family:
    return Family(own_server)


async def test_hubs_hear_what_any_of_them_has_stored_in_one_order(family: Family) -> None:
    async with family.hubs(2) as (one, other):

        async def publish(hub: Hub) -> None:
            for _ in range(50):
                await hub.store("a", "b")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(publish, one)
            nursery.start_soon(publish, other)
        for hub in (one, other):
            await hub.until_told(200)
            assert hub.positions == list(range(1, 201))
            assert all(
                message.topic == "ab"[(message.position - 1) % 2] for news in hub.news for message in news.messages
            )


async def test_a_message_of_another_hub_can_be_read_where_it_was_told(family: Family) -> None:
    async with family.hubs(2) as (one, other):
        await one.log.append([Draft("a", b"\0body", (("X-A", "1"),), "q=1")])
        await other.until_told(1)

        page = await other.log.read(TopicFilter(("a",)), after=0, limit=10, max_bytes=1 << 20)

        [told] = [message for news in other.news for message in news.messages]
        assert [*page.messages] == [told] == [message for news in one.news for message in news.messages]


async def test_what_another_hub_encrypts_with_an_unknown_key_is_a_gap(family: Family) -> None:
    async with family.open() as log, family.open(sealing=Sealing([bytes(32)])) as encrypting:
        one, other = Hub(log), Hub(encrypting)
        await one.store("a")
        await other.until_told(1)
        await other.store("b", "b")
        await one.until_told(3)
        await one.store("c")
        await other.until_told(4)

        hole = await log.read(EVERYTHING, after=1, limit=10, max_bytes=1 << 20)

    assert (one.positions, other.positions) == ([1, 4], [1, 2, 3, 4])
    assert (hole.messages, hole.next_after, hole.hole) == ([], 3, "damage")


async def test_a_hub_that_has_not_heard_of_an_id_yet_asks(family: Family) -> None:
    async with family.hubs(2) as (one, other):
        [position] = await one.store("a")

        await other.log.refresh()

        assert other.log.head == position
        assert other.log.epoch == one.log.epoch


async def test_a_key_is_used_once_over_all_hubs(family: Family) -> None:
    async with family.hubs(2) as (one, other):
        draft = Draft("a", once=(Once("idempotency", "a", "key"),))

        [first] = await one.log.append([draft])
        [second] = await other.log.append([draft])

        assert isinstance(first, Message)
        assert second == Duplicate(first.id)


async def test_what_a_hub_stores_for_a_duty_that_another_has_taken_over_is_superseded(family: Family) -> None:
    async with family.hubs(2) as (one, other):
        held = await one.log.duties.claim("cursor /sub/a c")
        assert isinstance(held, Held)
        [[message]] = await one.results([Unit([Draft("a")], {"c": 1}, held)])
        assert isinstance(message, Message)

        await other.log.duties.claim("cursor /sub/a c", takeover=True)
        superseded, stored = await one.results([Unit([Draft("a")], {"c": 2}, held), Unit([Draft("b")])])

        assert isinstance(superseded, Superseded)
        assert not isinstance(stored, Superseded)
        assert [cursor.position for cursor in await one.log.cursors()] == [1]


async def test_what_a_hub_has_stored_is_told_after_its_answer_also_if_it_is_read_before(
    family: Family, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with family.hubs(2) as (one, other):
        is_stored, may_be_answered = trio.Event(), Event()
        token = trio.lowlevel.current_trio_token()

        def finish_slowly(*arguments: Any, **options: Any) -> None:
            finish_batch(*arguments, **options)
            token.run_sync_soon(is_stored.set)
            may_be_answered.wait(GUARD_S)

        monkeypatch.setattr("hookbot.log.postgres_writer.finish_batch", finish_slowly)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.store, "a")
            await is_stored.wait()
            await other.until_told(1)
            nursery.start_soon(one.log.refresh)
            await wait_all_tasks_blocked(0.05)
            assert one.positions == []
            may_be_answered.set()

        assert one.positions == [1]


async def test_one_hub_trims_and_the_others_know_what_is_lost(family: Family) -> None:
    async with family.hubs(2) as (one, other):
        await one.store(*["a"] * 10)
        await other.until_told(10)
        limit = replace(KEEP_ALL, max_count=3)

        await one.log.duties.claim(TRIM)
        while await one.log.trim(limit, now_us=0):
            pass
        assert not await other.log.trim(replace(KEEP_ALL, max_count=0), now_us=0)
        page = await other.log.read(TopicFilter(("a",)), after=0, limit=100, max_bytes=1 << 20)

        assert [message.position for message in page.messages] == [8, 9, 10]
        assert other.log.lost_up_to(TopicFilter(("a",))) == 7


async def test_other_hubs_forget_what_one_deletes(family: Family) -> None:
    async with family.hubs(2) as (one, other):
        told: list[object] = []
        heard = trio.Event()

        def forget(positions: object) -> None:
            told.append(positions)
            heard.set()

        other.log.follow_deletions(forget)
        await one.store("a", "a", "a")
        await other.until_told(3)

        await one.log.delete([1, 3])
        with trio.fail_after(GUARD_S):
            await heard.wait()
        page = await other.log.read(TopicFilter(("a",)), after=0, limit=100, max_bytes=1 << 20)

        assert told == [[1, 3]]
        assert [message.position for message in page.messages] == [2]


async def test_a_hub_forgets_what_it_has_deleted_without_an_answer(
    family: Family, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose_answer(*args: Any, **given: Any) -> None:
        delete_step(*args, **given)
        raise Unavailable("the answer is lost")

    monkeypatch.setattr("hookbot.log.postgres.delete_step", lose_answer)
    async with family.hubs(1) as (hub,):
        forgotten, taken = trio.open_memory_channel[Collection[int] | None](10)
        hub.log.follow_deletions(forgotten.send_nowait)
        await hub.store("a", "a")

        with pytest.raises(Unavailable):
            await hub.log.delete([1])

        with trio.fail_after(GUARD_S):
            assert await taken.receive() == [1]


async def test_a_hub_that_starts_after_the_newest_was_deleted_knows_its_position(family: Family) -> None:
    async with family.hubs(1) as (one,):
        await one.store("a", "a")
        await one.log.delete([2])

        async with family.open() as log:
            assert log.head == 2


async def test_what_is_deleted_is_not_counted_by_the_hub_that_trims(family: Family) -> None:
    async with family.hubs(2) as (one, other):
        limit = replace(KEEP_ALL, max_count=3)
        await one.log.duties.claim(TRIM)
        await one.store(*["a"] * 5)
        await one.log.delete([2, 3])
        while await one.log.trim(limit, now_us=0):
            pass
        await one.log.delete([4])
        await one.store("a")
        while await one.log.trim(limit, now_us=0):
            pass
        await other.until_told(6)
        page = await other.log.read(TopicFilter(("a",)), after=0, limit=100, max_bytes=1 << 20)

        assert [message.position for message in page.messages] == [1, 5, 6]


async def test_messages_that_another_hub_stores_while_one_trims_are_counted(family: Family) -> None:
    async with family.hubs(2) as (one, other):
        limit = replace(KEEP_ALL, max_count=5)
        await one.log.duties.claim(TRIM)
        await one.log.trim(limit, now_us=0)
        for _ in range(4):
            await other.store(*["a"] * 5)
            await one.log.refresh()
            while await one.log.trim(limit, now_us=0):
                pass
            rows = family.execute("SELECT position FROM log ORDER BY position")
            assert [position for (position,) in rows] == list(range(one.log.head - 4, one.log.head + 1))


async def test_the_duty_to_trim_is_taken_over_with_a_new_count(family: Family) -> None:
    async with family.hubs(1) as (other,):
        async with family.open() as log:
            await log.append([Draft("a")] * 10)
            await log.duties.claim(TRIM)
            await log.trim(KEEP_ALL, now_us=0)
            assert not await other.log.trim(replace(KEEP_ALL, max_count=1), now_us=0)
        await other.log.duties.claim(TRIM)

        while await other.log.trim(replace(KEEP_ALL, max_count=1), now_us=0):
            pass

        assert family.execute("SELECT position FROM log") == [(10,)]


async def test_a_log_goes_on_where_it_was(family: Family) -> None:
    async with family.open() as log:
        await log.append([Draft("a"), Draft("b")], cursors={"c": 1})
        epoch = log.epoch
    async with family.open() as log:
        assert (log.epoch, log.head) == (epoch, 2)
        assert log.head_us > 0
        [message] = await log.append([Draft("a")])
        assert isinstance(message, Message)
        assert message.position == 3


# What fails


async def check(family: Family, acked: list[int], *hubs: Hub) -> None:
    """Nothing acknowledged is lost, nothing stored was not acknowledged, and everybody was told of it once."""
    stored = [position for (position,) in family.execute("SELECT position FROM log ORDER BY position")]
    assert acked == stored
    for hub in hubs:
        await hub.until_told(acked[-1])
        assert hub.positions == acked


@pytest.mark.slow
async def test_a_server_that_crashes_and_comes_back_costs_nothing(lone_family: Family) -> None:
    async with lone_family.hubs(2) as (one, other):
        async with publishing(one) as (acked, works):
            for _ in range(3):
                await works()
                await trio.to_thread.run_sync(lone_family.server.restart)
            await works()
        await check(lone_family, acked, one, other)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["terminated", "killed"])
async def test_connections_that_are_lost_are_made_again(lone_family: Family, how: str) -> None:
    async with lone_family.hubs(2) as (one, other):
        mine = "application_name LIKE 'hookbot%'"
        async with publishing(one) as (acked, works):
            for _ in range(3):
                await works()
                if how == "terminated":
                    lone_family.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {mine}")
                else:
                    # Then the server ends all others, too, and recovers.
                    [(pid, *_), *_] = lone_family.execute(f"SELECT pid FROM pg_stat_activity WHERE {mine}")
                    os.kill(int(str(pid)), signal.SIGKILL)
            await works()
        await check(lone_family, acked, one, other)


@pytest.mark.slow
async def test_a_server_that_hangs_is_noticed_and_what_was_under_way_is_stored_once(
    lone_family: Family, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hookbot.log.postgres_writer.DEADLINE_S", 0.5)
    async with lone_family.hubs(2) as (one, other):
        async with publishing(one) as (acked, works):
            await works()
            with lone_family.server.frozen():
                connection = one.log._writer._connection._connection
                with trio.fail_after(GUARD_S):
                    while connection and not connection.closed:
                        await trio.sleep(0.05)
            await works()
        await check(lone_family, acked, one, other)


async def test_the_hub_that_trims_counts_also_what_it_was_not_told_one_by_one(
    family: Family, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hookbot.log.postgres_follower.FAR", 5)
    limit = replace(KEEP_ALL, max_count=10)
    async with family.hubs(2) as (one, other):
        await one.log.duties.claim(TRIM)
        await one.log.trim(limit, now_us=0)
        [*_, head] = await other.store(*"a" * 30)
        await one.until_told(head)
        while await one.log.trim(limit, now_us=0):
            pass

        assert not one.positions
        assert family.execute("SELECT count(*) FROM log") == [(10,)]


async def test_news_are_heard_of_without_a_notification(lone_family: Family, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hookbot.log.postgres_batch._NOTIFY", "SELECT %b::text, %b::text")
    async with lone_family.hubs(2) as (one, other):
        [position] = await one.store("a")

        await other.until_told(position)


async def test_a_server_that_is_down_refuses_and_works_again_by_itself(lone_family: Family) -> None:
    async with lone_family.hubs(1) as (hub,):
        await hub.store("a")
        lone_family.server.stop()
        try:
            with pytest.raises(Unavailable):
                await hub.store("a")
            with pytest.raises(Unavailable):
                await hub.log.probe()
            with pytest.raises(Unavailable):
                await hub.log.read(EVERYTHING, after=0, limit=10, max_bytes=1)
        finally:
            lone_family.server.start()

        assert await hub.store("a") == [2]
        await hub.log.probe()
        page = await hub.log.read(EVERYTHING, after=0, limit=10, max_bytes=1 << 20)
        assert [message.position for message in page.messages] == [1, 2]


async def test_a_log_that_cannot_be_reached_at_the_start_is_unavailable(lone_family: Family) -> None:
    lone_family.server.stop()
    try:
        with pytest.raises(ExceptionGroup) as raised:
            async with lone_family.open():
                pass
    finally:
        lone_family.server.start()
    assert raised.group_contains(Unavailable)


async def test_a_database_that_is_not_there_is_a_mistake_of_the_configuration(postgres: PostgresServer) -> None:
    address = PostgresAddress.parse(postgres.url_of("nothing"))
    with pytest.raises(ExceptionGroup) as raised:
        async with open_postgres_log(address, OwnHub("h", "", "0", "")):
            pass
    assert raised.group_contains(ConfigError, match="CREATE DATABASE")


# Failovers


def lose_tail(family: Family, kept: int, timelines: int = 1) -> None:
    """What a failover to a replica does that has not got the newest messages: to the hub, the server is another one."""
    # Under the lock: all of it at once.
    family.execute(
        f"SELECT pg_advisory_xact_lock({family.address.lock_key}); "
        f"DELETE FROM log WHERE position > {kept}; DELETE FROM body WHERE position > {kept}; "
        f"SELECT setval('pos', {kept}); UPDATE identity SET timeline = timeline - {timelines}"
    )
    family.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'hookbot%'")


@pytest.mark.parametrize("timelines", [1, 0], ids=["failover", "set back"])
async def test_a_failover_that_lost_messages_is_a_hole_and_no_id_is_given_twice(
    lone_family: Family, timelines: int
) -> None:
    async with lone_family.hubs(1) as (hub,):
        await hub.store(*["a"] * 10)
        lose_tail(lone_family, kept=6, timelines=timelines)

        [position] = await hub.store("a")
        await hub.until_told(position)

        # Further, if a connection was lost while it recorded the failover.
        assert position > JUMP
        wanted = TopicFilter(("a",))
        for after, expected in [
            (3, [4, 5, 6]),
            (6, "failover"),
            (8, "failover"),
            (10, "failover"),
            (position - 1, [position]),
        ]:
            page = await hub.log.read(wanted, after=after, limit=100, max_bytes=1 << 20)
            assert (page.hole or [message.position for message in page.messages]) == expected
            assert page.next_after == (position - 1 if page.hole else expected[-1] if after > 10 else 6)


async def test_a_failover_that_lost_nothing_is_told_to_nobody(lone_family: Family) -> None:
    async with lone_family.hubs(1) as (hub,):
        await hub.store(*["a"] * 10)
        lose_tail(lone_family, kept=10)

        [position] = await hub.store("a")
        await hub.until_told(position)

        found: list[Message] = []
        after = 8
        while after < hub.log.head:
            page = await hub.log.read(TopicFilter(("a",)), after=after, limit=100, max_bytes=1 << 20)
            assert not page.hole
            found += page.messages
            after = page.next_after
        assert [message.position for message in found] == [9, 10, position]


@pytest.mark.parametrize("storing", [0, 1], ids=["another hub stores", "it stores"])
@pytest.mark.parametrize("open_at_first", [True, False])
async def test_a_hub_that_is_late_at_failovers_tells_each_message(
    lone_family: Family, monkeypatch: pytest.MonkeyPatch, storing: int, open_at_first: bool
) -> None:
    # Each looks only when it is asked to, and waits for nobody's word.
    monkeypatch.setattr(Follower, "keep_up", lambda follower: trio.sleep_forever())
    monkeypatch.setattr("hookbot.log.postgres_failovers.REPORT_S", 0)
    async with lone_family.hubs(2) as hubs:
        early, late = hubs
        kept = await early.store("a", "a")
        lose_tail(lone_family, kept=2)
        await early.log.cursors()
        # Once more, with nothing stored in between.
        lose_tail(lone_family, kept=2 + JUMP)
        [new] = await hubs[storing].store("a")
        assert new > 2 * JUMP

        if open_at_first:
            lone_family.execute("UPDATE failover SET unheard = '{another}', until = now() + interval '1 hour'")
            with pytest.raises(Unavailable, match="not all hubs have told"):
                await late.log.refresh()
            assert late.positions == kept
            lone_family.execute("UPDATE failover SET until = now()")
        await late.log.refresh()

        assert late.positions == [*kept, new]
