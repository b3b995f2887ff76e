"""What only a copy from or to PostgreSQL can meet. `test_copying.py` has the rest."""

from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from hookbot.errors import ConfigError, Unavailable
from hookbot.log.copying import CopyTarget, LogState
from hookbot.log.postgres_address import PostgresAddress
from hookbot.log.postgres_copy import open_postgres_source, open_postgres_target
from hookbot.log.retention import Deleted
from hookbot.log.stored_message import StoredMessage
from support.copies import copy, filled, open_log, schema_in, source_at
from support.postgres import PostgresServer


@pytest.fixture
def address(postgres: PostgresServer) -> PostgresAddress:
    return schema_in(postgres)


async def test_two_copies_at_a_time_do_not_mix(address: PostgresAddress, tmp_path: Path) -> None:
    await filled(tmp_path)
    async with AsyncExitStack() as stack:
        source = await stack.enter_async_context(source_at(tmp_path))
        one, other = [await stack.enter_async_context(open_postgres_target(address)) for _ in range(2)]
        state = await source.state()
        for target in (one, other):
            await target.begin(source.name, state)
        messages = (await source.part(0)).messages
        await one.add(messages)

        with pytest.raises(ConfigError, match=r"another `hookbot log copy` writes to .* as well"):
            await other.add(messages)


async def test_a_log_after_a_failover_that_no_hub_has_seen_is_not_copied(
    postgres: PostgresServer, address: PostgresAddress, tmp_path: Path
) -> None:
    await filled(address)
    postgres.execute("UPDATE identity SET timeline = timeline + 1", schema=address.schema)

    with pytest.raises(ConfigError, match="has failed over or was restored: start and stop a hub on it first"):
        await copy(address, tmp_path / "copy")


async def test_a_log_of_another_version_is_not_copied(
    postgres: PostgresServer, address: PostgresAddress, tmp_path: Path
) -> None:
    await filled(address)
    postgres.execute("UPDATE identity SET schema_version = 99", schema=address.schema)

    with pytest.raises(ConfigError, match="has version 99 of the schema, and this hookbot needs"):
        await copy(address, tmp_path / "copy")


async def test_a_place_whose_hub_runs_is_not_copied_to(address: PostgresAddress, tmp_path: Path) -> None:
    await filled(tmp_path)
    async with open_log(address):
        with pytest.raises(ConfigError, match=r"hubs use the log in .*: stop them first"):
            await copy(tmp_path, address)


async def test_a_hub_that_starts_meanwhile_is_noticed(address: PostgresAddress, postgres: PostgresServer) -> None:
    await filled(address)
    async with open_postgres_source(address) as source, open_postgres_target(schema_in(postgres)) as target:
        state = await source.state()
        await target.begin(source.name, state)
        async with open_log(address):
            with pytest.raises(ConfigError, match="stop them first"):
                await source.state()


async def test_the_newest_message_of_an_empty_copy_is_none(address: PostgresAddress) -> None:
    async with open_postgres_target(address) as target:
        assert await begun(target) is None


NOTHING_DELETED = {"": Deleted(), "/unsafe/": Deleted()}


async def begun(target: CopyTarget) -> StoredMessage | None:
    await target.begin("there", LogState("abcdefgh", 0, 0, 0, NOTHING_DELETED))
    return await target.newest()


async def test_a_server_that_is_down_is_told_without_a_password() -> None:
    address = PostgresAddress.parse("postgresql://user:s3cret@127.0.0.1:1/db")

    with pytest.raises(Unavailable) as refused:
        async with open_postgres_source(address):
            pass

    assert "s3cret" not in str(refused.value)
