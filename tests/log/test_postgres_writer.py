"""Batches whose fate is in doubt: the connection is lost at the worst moments, on a real server."""

from typing import Any

import psycopg
import pytest
import trio

from hookbot.errors import Unavailable
from hookbot.log import postgres_writer
from hookbot.log.postgres_batch import finish_batch
from support.postgres import PostgresServer
from support.postgres_logs import new_address, opened_writer, store, stored

GUARD_S = 60


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
