"""Uses of keys at rest, counted in a directory and in a real database beside a hub."""

from pathlib import Path

import pytest

from hookbot.errors import ConfigError, sole_error
from hookbot.log.key_uses import KeyUse, key_uses
from hookbot.log.sealing import Sealing, key_id
from hookbot.protocol.message import Draft
from support.copies import Place, open_log, schema_in
from support.postgres import PostgresServer

OLD, NEW = bytes(32), b"\1" * 32


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """A new place of a log."""
    return tmp_path if request.param == "sqlite" else schema_in(request.getfixturevalue("postgres"))


async def test_messages_are_counted_by_their_keys(place: Place) -> None:
    async with open_log(place) as log:
        await log.append([Draft("a", b'{"sealed":"'), Draft("/unsafe/a", headers=(("sealed", '{"sealed":"'),))])
    async with open_log(place, Sealing([OLD])) as log:
        await log.append([Draft("a"), Draft("a"), Draft("a")])
        await log.delete([4])
    async with open_log(place, Sealing([NEW, OLD])) as log:
        assert [use[:2] for use in await key_uses(place)] == [("", 2), (key_id(OLD), 2)]
        await log.append([Draft("a")])

        uses = await key_uses(place)

        assert sorted(use[:2] for use in uses) == sorted([("", 2), (key_id(OLD), 2), (key_id(NEW), 1)])
        assert all(0 < use.oldest_us <= use.newest_us <= log.head_us for use in uses)
        assert isinstance(uses[0], KeyUse)


async def test_without_a_log_there_is_nothing_to_count(tmp_path: Path, postgres: PostgresServer) -> None:
    for place in (tmp_path, schema_in(postgres)):
        with pytest.raises((ConfigError, ExceptionGroup)) as caught:
            await key_uses(place)
        assert "there is no log in" in str(sole_error(caught.value))


async def test_a_file_that_is_none_is_no_log(tmp_path: Path) -> None:
    (tmp_path / "hookbot.sqlite3").write_bytes(b"garbage" * 1000)

    with pytest.raises(ConfigError):
        await key_uses(tmp_path)
