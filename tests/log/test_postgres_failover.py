"""Failovers of the PostgreSQL log to a replica, with publishers and listeners under way."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from secrets import token_hex

import pytest
import trio

from hookbot.broker.broker import Broker, Subscription, open_broker
from hookbot.broker.starts import Start
from hookbot.errors import Unavailable
from hookbot.log.postgres import PostgresLog, open_postgres_log
from hookbot.log.postgres_address import PostgresAddress
from hookbot.log.postgres_duty_queries import OwnHub
from hookbot.log.postgres_failovers import JUMP
from hookbot.protocol.message import Gap
from hookbot.protocol.since import AfterId
from hookbot.protocol.topics import TopicFilter
from support.log_hubs import GUARD_S, Hub, publishing
from support.postgres import PostgresServer, new_schema, running_postgres
from support.replicas import Standby, standby_of, url_of_all

pytestmark = pytest.mark.slow

A = TopicFilter(("a",))
DISCONNECT = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'hookbot%'"
# Of the one that stores a batch, or looks for it.
WAITING = """
    SELECT pid FROM pg_stat_activity JOIN pg_locks USING (pid)
    WHERE wait_event = 'SyncRep' AND locktype = 'advisory' AND granted
    """


class Pair:
    """A primary and its standby, with the hubs of one log there; the primary may be gone."""

    def __init__(self, primary: PostgresServer, standby: Standby) -> None:
        self.primary = primary
        self.standby = standby

    def open(self) -> AbstractAsyncContextManager[PostgresLog]:
        address = PostgresAddress.parse(url_of_all(self.primary, self.standby))
        return open_postgres_log(address, OwnHub(token_hex(8), "", "0", ""))

    @asynccontextmanager
    async def hubs(self, count: int) -> AsyncIterator[tuple[Hub, ...]]:
        async with AsyncExitStack() as stack:
            yield tuple([Hub(await stack.enter_async_context(self.open())) for _ in range(count)])

    async def fail_over(self) -> None:
        """The primary dies, and the standby takes its place."""
        await trio.to_thread.run_sync(self.primary.stop)
        await trio.to_thread.run_sync(self.standby.promote)

    async def detach(self) -> None:
        """What is stored from now on does not get to the standby."""
        await trio.to_thread.run_sync(self.standby.catch_up_with, self.primary)
        await trio.to_thread.run_sync(self.standby.detach)

    def stored(self, server: PostgresServer | None = None) -> list[int]:
        rows = (server or self.standby).execute("SELECT position FROM log ORDER BY position", schema="hookbot")
        return [int(str(position)) for (position,) in rows]


@pytest.fixture(params=[True], ids=["synchronous"])
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    with running_postgres() as primary, standby_of(primary, synchronous=request.param) as standby:
        yield Pair(primary, standby)


asynchronous = pytest.mark.parametrize("pair", [False], indirect=True, ids=["asynchronous"])


async def taken(subscription: Subscription, up_to: int) -> list[int | Gap]:
    """Positions of all messages until one position, and gaps between them."""
    found: list[int | Gap] = []
    with trio.fail_after(GUARD_S):
        while subscription.position < up_to:
            found += [item if isinstance(item, Gap) else item.position for item in await subscription.take()]
    return found


async def resumed(broker: Broker, position: int, up_to: int) -> list[int | Gap]:
    """What a listener hears that comes back with the id of a position."""
    start = await broker.starts.at(AfterId(broker.log.epoch, position), A)
    with broker.subscribe(A, start) as subscription:
        return await taken(subscription, up_to)


@asynccontextmanager
async def hub_at(server: PostgresServer, schema: str) -> AsyncIterator[Hub]:
    address = PostgresAddress.parse(f"{server.url}?schema={schema}")
    async with open_postgres_log(address, OwnHub(token_hex(8), "", "0", "")) as log:
        yield Hub(log)


async def store_at_last(hub: Hub) -> list[int]:
    """Positions of a message that is stored as soon as there is a server."""
    with trio.fail_after(GUARD_S):
        while True:
            try:
                return await hub.store("a")
            except Unavailable:
                await trio.sleep(0.05)


def failover_gap(hub: Hub, after: int, before: int) -> Gap:
    return Gap.between("failover", hub.log.epoch, after, before - 1)


async def test_a_failover_to_a_synchronous_standby_costs_nothing(pair: Pair) -> None:
    async with pair.hubs(2) as (one, other), pair.open() as third, open_broker(third) as broker:
        with broker.subscribe(A) as live, broker.subscribe(A, Start(0)) as behind:
            heard: list[int | Gap] = []
            async with trio.open_nursery() as nursery:

                async def listen() -> None:
                    while True:
                        heard.extend(await taken(live, live.position + 1))

                nursery.start_soon(listen)
                async with publishing(one) as (acked, works), publishing(other) as (more, others):
                    await works()
                    await others()
                    await pair.fail_over()
                    await works()
                    await others()
                stored = pair.stored()
                with trio.fail_after(GUARD_S):
                    while heard != stored:
                        await trio.sleep(0.02)
                nursery.cancel_scope.cancel()
            assert sorted(acked + more) == stored
            for hub in (one, other):
                await hub.until_told(stored[-1])
                assert hub.positions == stored
            assert await taken(behind, stored[-1]) == stored
            for number in (1, len(stored) // 2, len(stored) - 3):
                assert await resumed(broker, stored[number], stored[-1]) == stored[number + 1 :]


@asynchronous
async def test_what_an_asynchronous_standby_has_not_got_is_told_as_a_gap(pair: Pair) -> None:
    async with pair.hubs(1) as (one,), pair.open() as second, open_broker(second) as broker:
        kept = await one.store(*["a"] * 3)
        await pair.detach()
        with broker.subscribe(A) as live, broker.subscribe(A, Start(0)) as behind:
            lost = await one.store(*["a"] * 3)
            before = await taken(live, lost[-1])
            await pair.fail_over()
            [new] = await store_at_last(one)

            assert not {*kept, *lost} & {new}
            assert pair.stored() == [*kept, new]
            heard = before + await taken(live, new)
            gap = failover_gap(one, lost[-1], new)
            assert heard == [*lost, gap, new]
            assert await taken(behind, new) == [*kept, failover_gap(one, kept[-1], new), new]
            assert await resumed(broker, lost[0], new) == [failover_gap(one, lost[0], new), new]
            assert await resumed(broker, kept[0], new) == [*kept[1:], failover_gap(one, kept[-1], new), new]
            assert await resumed(broker, kept[-1], new) == [failover_gap(one, kept[-1], new), new]


@asynchronous
async def test_a_hub_that_has_not_heard_of_what_is_lost_waits_for_those_that_have(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One that lags: it hears of nothing before the failover.
    monkeypatch.setattr("hookbot.log.postgres_batch._NOTIFY", "SELECT %b::text, %b::text")
    monkeypatch.setattr("hookbot.log.postgres_follower.POLL_S", 3600)
    async with pair.hubs(2) as (one, other), open_broker(other.log) as broker:
        kept = await one.store(*["a"] * 3)
        await other.log.refresh()
        await pair.detach()
        lost = await one.store(*["a"] * 3)
        with broker.subscribe(A) as live:
            await pair.fail_over()
            monkeypatch.setattr("hookbot.log.postgres_follower.POLL_S", 0.05)
            # Of the hub that knows nothing.
            [new] = await store_at_last(other)
            assert await taken(live, new) == [failover_gap(one, kept[-1], new), new]
        assert new > lost[-1]


async def test_an_old_primary_that_returns_is_refused(pair: Pair) -> None:
    async with pair.hubs(2) as (one, other):
        kept = await one.store("a", "a")
        await pair.fail_over()
        [new] = await store_at_last(one)
        await other.until_told(new)
        await trio.to_thread.run_sync(pair.primary.start)

        # All connections are made again, and the old primary is the first host.
        pair.standby.execute(DISCONNECT)
        more = [*await store_at_last(one), *await store_at_last(other)]
        async with pair.hubs(1) as (late,):
            await late.until_told(more[-1])
            more += await late.store("a")
            for hub in (one, other):
                await hub.until_told(more[-1])

        assert pair.stored() == [*kept, new, *more]
        assert pair.stored(pair.primary) == kept


@asynchronous
async def test_connections_to_an_old_primary_that_still_works_are_given_up(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hookbot.log.postgres_identity.LOOK_S", 0.05)
    async with pair.hubs(1) as (hub,):
        kept = await hub.store("a", "a")
        before = hub.log._identity.current()
        await pair.detach()
        await trio.to_thread.run_sync(pair.standby.promote)
        with trio.fail_after(GUARD_S):
            while hub.log._identity.current() == before:
                await trio.sleep(0.02)

        [new] = await hub.store("a")
        await hub.until_told(new)
        assert pair.stored() == hub.positions == [*kept, new]
        assert pair.stored(pair.primary) == kept


async def test_a_host_that_is_down_does_not_keep_a_hub_from_starting(pair: Pair) -> None:
    await trio.to_thread.run_sync(pair.primary.stop)
    await trio.to_thread.run_sync(pair.standby.promote)

    async with pair.hubs(1) as (hub,):
        assert await hub.store("a") == [1]


async def waiting_commit(server: PostgresServer) -> object:
    """Process whose commit waits for the standby, as soon as there is one."""
    with trio.fail_after(GUARD_S):
        while True:
            if rows := await trio.to_thread.run_sync(server.execute, WAITING):
                return rows[0][0]
            await trio.sleep(0.02)


@pytest.mark.parametrize("how", ["pg_cancel_backend", "pg_terminate_backend"])
async def test_a_commit_that_waits_no_longer_is_acknowledged_when_it_is_on_the_standby(pair: Pair, how: str) -> None:
    async with pair.hubs(1) as (hub,):
        acked = await hub.store("a")

        async def publish() -> None:
            acked.extend(await hub.store("a"))

        async with trio.open_nursery() as nursery:
            with pair.standby.frozen():
                nursery.start_soon(publish)
                for _ in range(3):
                    pair.primary.execute(f"SELECT {how}({await waiting_commit(pair.primary)})")
                await waiting_commit(pair.primary)
                assert acked == [1]
                assert pair.stored(pair.primary) == [1, 2]
        assert acked == pair.stored(pair.primary) == [1, 2]
        await hub.until_told(2)
        assert hub.positions == [1, 2]


async def test_what_waits_for_a_standby_that_is_down_is_stored_once(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with pair.hubs(1) as (hub,):
        await hub.store("a")
        monkeypatch.setattr("hookbot.log.postgres_writer.DEADLINE_S", 0.5)
        async with publishing(hub) as (acked, works):
            await works()
            with pair.standby.frozen():
                connection = hub.log._writer._connection._connection
                with trio.fail_after(GUARD_S):
                    while connection and not connection.closed:
                        await trio.sleep(0.02)
                monkeypatch.undo()
            await works()
        assert [1, *acked] == pair.stored(pair.primary)


async def test_a_publisher_is_told_when_it_stays_unknown_whether_the_message_is_stored(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with pair.hubs(1) as (hub,):
        await hub.store("a")
        monkeypatch.setattr("hookbot.log.postgres_writer.DEADLINE_S", 0.5)
        monkeypatch.setattr("hookbot.log.postgres_writer.DOUBT_S", 1.0)
        with pair.standby.frozen(), pytest.raises(Unavailable, match="not known whether"):
            await hub.store("a")
        monkeypatch.undo()

        assert await store_at_last(hub) == [3]
        assert pair.stored(pair.primary) == [1, 2, 3]
        await hub.until_told(3)
        assert hub.positions == [1, 2, 3]


async def test_ids_that_were_given_after_a_dump_are_not_given_again(postgres: PostgresServer) -> None:
    schema = new_schema()
    async with hub_at(postgres, schema) as hub:
        await hub.store(*["a"] * 3)
        dump = postgres.dump(schema)
        await hub.store(*["a"] * 3)
        epoch = hub.log.epoch
    with running_postgres() as other:
        other.load(dump)
        async with hub_at(other, schema) as hub, open_broker(hub.log) as broker:
            assert hub.log.epoch == epoch
            assert await broker.starts.at(AfterId(epoch, 2), A) == Start(2)
            [new] = await hub.store("a")
            assert new > JUMP + 3
            assert await resumed(broker, 5, new) == [failover_gap(hub, 5, new), new]
            assert await resumed(broker, 2, new) == [3, failover_gap(hub, 3, new), new]


@asynchronous
async def test_who_comes_back_with_a_lost_id_is_told_so_though_no_hub_remembers_it(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hookbot.log.postgres_failovers.REPORT_S", 0)
    async with pair.hubs(1) as (hub,):
        kept = await hub.store(*["a"] * 3)
        await pair.detach()
        lost = await hub.store(*["a"] * 3)
    await pair.fail_over()
    async with pair.hubs(1) as (hub,), open_broker(hub.log) as broker:
        [new] = await hub.store("a")

        # Both ways through the pages in memory.
        for _ in range(2):
            assert await resumed(broker, kept[0], new) == [*kept[1:], new]
            assert await resumed(broker, kept[-1], new) == [new]
            for position in lost:
                assert await resumed(broker, position, new) == [failover_gap(hub, position, new), new]
