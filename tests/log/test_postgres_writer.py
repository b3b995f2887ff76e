"""The writer of the PostgreSQL log on a real server, whose connection is lost at the worst moments."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from secrets import token_hex
from typing import Any

import psycopg
import pytest
import trio

from hookbot.errors import Unavailable
from hookbot.log import postgres_writer
from hookbot.log.postgres import PostgresLog, open_postgres_log
from hookbot.log.postgres_address import PostgresAddress
from hookbot.log.postgres_batch import finish_batch
from hookbot.log.postgres_duty_queries import OwnHub
from hookbot.protocol.message import Draft, Message
from support.postgres import PostgresServer, new_schema
from support.postgres_logs import new_address, opened_writer, store, stored

GUARD_S = 60
# All of them passed once; each takes a tenth of a second.
STEP = 17


class Cutter:
    """Proxy before a server that cuts the connection of the writer, by the bytes that have passed in one direction."""

    def __init__(self, server_port: int) -> None:
        self.server_port = server_port
        self.port = 0
        self.cut_after: dict[str, int | None] = {"sent": None, "received": None}
        """Bytes in each direction after which the next one is cut, once."""
        self.passed = {"sent": 0, "received": 0}

    async def serve(self, client: trio.SocketStream) -> None:
        server = await trio.open_tcp_stream("127.0.0.1", self.server_port)
        async with client, server, trio.open_nursery() as nursery:
            nursery.start_soon(self._pass, "sent", client, server, nursery.cancel_scope)
            nursery.start_soon(self._pass, "received", server, client, nursery.cancel_scope)

    async def _pass(
        self, way: str, source: trio.SocketStream, target: trio.SocketStream, connection: trio.CancelScope
    ) -> None:
        try:
            async for data in source:
                left = self.cut_after[way]
                if left is not None and len(data) >= left:
                    self.cut_after[way] = None
                    await target.send_all(data[:left])
                    break
                if left is not None:
                    self.cut_after[way] = left - len(data)
                self.passed[way] += len(data)
                await target.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        connection.cancel()


@asynccontextmanager
async def cut_log(server: PostgresServer, schema: str) -> AsyncIterator[tuple[PostgresLog, Cutter]]:
    """A log whose writer, and only that, is connected by a proxy."""
    cutter = Cutter(server.port)
    async with trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        cutter.port = listener.socket.getsockname()[1]
        nursery.start_soon(trio.serve_listeners, cutter.serve, [listener])
        address = PostgresAddress.parse(f"{server.url}?schema={schema}")
        async with open_postgres_log(address, OwnHub(token_hex(8), "", "0", "")) as log:
            writing = log._writer._connection
            writing.close()
            writing._address = replace(address, _url=address._url.replace(f":{server.port}/", f":{cutter.port}/"))
            yield log, cutter
        nursery.cancel_scope.cancel()


@pytest.mark.slow
@pytest.mark.parametrize("way", ["sent", "received"])
async def test_a_batch_is_stored_once_wherever_its_connection_is_cut(postgres: PostgresServer, way: str) -> None:
    schema = new_schema()
    async with cut_log(postgres, schema) as (log, cutter):
        # The statements are prepared after a while.
        for _ in range(10):
            await log.append([Draft("a", b"body")], cursors={"c": 1})
        before = cutter.passed[way]
        await log.append([Draft("a", b"body")], cursors={"c": 1})
        length = cutter.passed[way] - before
        for cut in range(0, length + 1, STEP):
            for _ in range(7):
                # As before: each new connection prepares them again.
                await log.append([Draft("a", b"body")], cursors={"c": 1})
            cutter.cut_after[way] = cut
            name = f"t{cut}"
            try:
                [outcome] = await log.append([Draft(name, b"body")], cursors={"c": cut})
                assert isinstance(outcome, Message)
                expected = [outcome.position]
            except Unavailable:
                expected = []
            cutter.cut_after[way] = None
            rows = postgres.execute("SELECT position FROM log WHERE topic = %s", name, schema=schema)
            assert [position for (position,) in rows] == expected, cut


class Cut:
    """Replacement of `finish_batch` that loses the connection before, or after, the first batches are stored."""

    def __init__(self, *when: str) -> None:
        self.when = list(when)

    def __call__(self, connection: "psycopg.Connection[Any]", *args: Any, **options: Any) -> None:
        when = self.when.pop(0) if self.when else ""
        if when != "before":
            finish_batch(connection, *args, **options)
        if when:
            connection.close()
            raise psycopg.OperationalError("the connection is lost")


async def test_a_batch_is_stored_and_returned_with_its_results(postgres: PostgresServer) -> None:
    address = new_address(postgres)
    async with opened_writer(address) as writer:
        batch, results = await store(writer, "a", "b")

    assert [message.topic for message in batch.messages] == ["a", "b"]
    assert results == [[message] for message in batch.messages]
    assert stored(postgres, address) == [(1, "a"), (2, "b")]


async def test_a_connection_that_was_lost_while_it_was_idle_costs_no_batch(postgres: PostgresServer) -> None:
    address = new_address(postgres)
    async with opened_writer(address) as writer:
        await store(writer, "a")
        [(pid,)] = await writer.do(lambda connection: connection.execute("SELECT pg_backend_pid()").fetchall())
        postgres.execute("SELECT pg_terminate_backend(%s)", pid)

        await store(writer, "b")

    assert [topic for _, topic in stored(postgres, address)] == ["a", "b"]


@pytest.mark.parametrize("cuts", [("after",), ("before",), ("before", "after"), ("after", "after"), ("before",) * 4])
async def test_a_batch_whose_answer_is_lost_is_stored_once(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch, cuts: tuple[str, ...]
) -> None:
    address = new_address(postgres)
    async with opened_writer(address) as writer:
        await store(writer, "a")
        monkeypatch.setattr(postgres_writer, "finish_batch", Cut(*cuts))
        with trio.fail_after(GUARD_S):
            batch, _ = await store(writer, "b")
            await store(writer, "c")

    found = stored(postgres, address)
    assert [topic for _, topic in found] == ["a", "b", "c"]
    assert found[1][0] == batch.head


async def test_who_stops_while_a_batch_is_in_doubt_says_so(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = new_address(postgres)
    async with opened_writer(address) as writer:
        await store(writer, "a")
        monkeypatch.setattr(postgres_writer, "finish_batch", Cut("after"))
        monkeypatch.setattr(postgres_writer, "find_token", Cut("before"))
        writer._stopping.set()

        with pytest.raises(Unavailable, match="it is not known whether the message was stored"):
            await store(writer, "b")


async def test_two_hubs_in_doubt_find_their_own_batches(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = new_address(postgres)
    async with opened_writer(address, "one") as one, opened_writer(address, "other") as other:
        monkeypatch.setattr(postgres_writer, "finish_batch", Cut("after", "after"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(store, one, "a")
            nursery.start_soon(store, other, "b")

    assert sorted(topic for _, topic in stored(postgres, address)) == ["a", "b"]


async def test_one_token_of_each_hub_is_kept(postgres: PostgresServer) -> None:
    address = new_address(postgres)
    async with opened_writer(address, "one") as one, opened_writer(address, "other") as other:
        for topics in ("a", "", "ab"):
            await store(one, *topics)
            await store(other, *topics)

    assert postgres.execute("SELECT count(*) FROM writer", schema=address.schema) == [(2,)]


async def test_other_work_on_the_connection_takes_its_turn(postgres: PostgresServer) -> None:
    async with opened_writer(new_address(postgres)) as writer:
        assert await writer.do(lambda connection: connection.info.dbname) == "hookbot"
        with pytest.raises(ZeroDivisionError):
            await writer.do(lambda _: 1 // 0)
        await store(writer, "a")
