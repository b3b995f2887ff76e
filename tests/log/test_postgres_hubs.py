"""The hubs of a real database, listed without one of them."""

import pytest

from hookbot.errors import ConfigError, Unavailable
from hookbot.log.duties import TRIM
from hookbot.log.postgres_address import PostgresAddress
from hookbot.log.postgres_hubs import read_family
from hookbot.protocol.message import Draft
from support.copies import open_log, schema_in
from support.postgres import PostgresServer


@pytest.fixture
def address(postgres: PostgresServer) -> PostgresAddress:
    return schema_in(postgres)


async def test_the_hubs_of_a_database_are_listed(address: PostgresAddress) -> None:
    async with open_log(address) as log:
        await log.append([Draft("a"), Draft("a")])
        family = await read_family(address)
    left = await read_family(address)

    [hub] = family.hubs
    assert (family.epoch, family.head) == (log.epoch, 2)
    assert (hub.version, hub.duties) == ("0", [TRIM])
    assert hub.told <= family.head
    assert (left.epoch, list(left.hubs)) == (log.epoch, [])


async def test_a_database_without_a_log_is_left_without_one(address: PostgresAddress) -> None:
    for _ in range(2):
        with pytest.raises(ConfigError, match="there is no log in postgresql:"):
            await read_family(address)


async def test_a_server_that_is_down_is_told() -> None:
    with pytest.raises(Unavailable):
        await read_family(PostgresAddress.parse("postgresql://user:s3cret@127.0.0.1:1/db"))
