"""What each connection of a hub has to find, on a real server. Timelines are in `test_postgres_schema.py`."""

import pytest

from hookbot.errors import Unavailable
from hookbot.log.postgres_address import PostgresAddress
from support.postgres import PostgresServer
from support.postgres_logs import new_address, opened_connections


async def test_the_first_connection_opens_the_log_and_the_others_find_it(
    postgres: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    address = new_address(postgres)
    async with opened_connections(address) as (connections, identity):
        await connections.duties.run(lambda _: None)

        [row] = postgres.execute("SELECT epoch, timeline FROM identity", schema=address.schema)
        assert (identity.epoch, identity.timeline) == row
        assert identity.checks == 2
    # fsync is off in tests.
    assert [record.levelname for record in caplog.records if "kept by PostgreSQL" in record.message] == ["INFO"]
    assert "fsync is off on the server" in caplog.text


async def test_a_connection_that_finds_another_log_is_refused(postgres: PostgresServer) -> None:
    address = new_address(postgres)
    async with opened_connections(address) as (connections, identity):
        postgres.execute("UPDATE identity SET epoch = 'another'", schema=address.schema)

        with pytest.raises(Unavailable):
            await connections.duties.run(lambda _: None)
        assert identity.checks == 1


async def test_hubs_of_one_schema_have_one_log_and_those_of_another_have_their_own(postgres: PostgresServer) -> None:
    async def epoch(address: PostgresAddress) -> str:
        async with opened_connections(address) as (_, identity):
            return identity.epoch

    one, other = new_address(postgres), new_address(postgres)
    assert await epoch(one) == await epoch(one) != await epoch(other)
