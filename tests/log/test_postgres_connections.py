"""The connections of one hub, on a real server."""

from threading import Barrier
from typing import Any

import trio

from hookbot.log.postgres_connections import READERS, PostgresReaders
from support.postgres import PostgresServer
from support.postgres_logs import new_address, opened_connections


async def test_readers_work_at_the_same_time_and_others_wait_for_them(postgres: PostgresServer) -> None:
    barrier = Barrier(READERS)
    pids: list[int] = []

    async with opened_connections(new_address(postgres)) as (connections, _):
        readers = PostgresReaders(connections.reading)

        async def read() -> None:
            def work(connection: object) -> int:
                barrier.wait(60)
                return connection.info.backend_pid  # type: ignore[attr-defined, no-any-return]

            pids.append(await readers.do(work))

        async with trio.open_nursery() as nursery:
            for _ in range(3 * READERS):
                nursery.start_soon(read)

    assert len(pids) == 3 * READERS
    assert len(set(pids)) == READERS


async def test_notifications_arrive_where_sessions_are_whole(postgres: PostgresServer) -> None:
    async with opened_connections(new_address(postgres)) as (connections, _):
        await connections.listen()


async def test_all_connections_are_closed_at_the_end(postgres: PostgresServer) -> None:
    address = new_address(postgres)
    async with opened_connections(address) as (connections, _):
        await connections.listen()
        await PostgresReaders(connections.reading).do(lambda connection: connection.execute("SELECT 1"))
        opened = [connections.writing, connections.duties, *connections.reading]
        assert any(connection._connection for connection in opened)

    assert not any(connection._connection for connection in opened)


async def test_what_is_read_after_the_sessions_were_lost_is_read_on_new_ones(postgres: PostgresServer) -> None:
    async with opened_connections(new_address(postgres)) as (connections, _):
        readers = PostgresReaders(connections.reading)

        async def pid() -> Any:
            return await readers.do(lambda connection: connection.execute("SELECT pg_backend_pid()").fetchall())

        [(lost,)] = await pid()
        postgres.execute("SELECT pg_terminate_backend(%s, 10000)", lost)

        assert await pid() != [(lost,)]
