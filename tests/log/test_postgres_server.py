"""What a server of PostgreSQL is and is set to."""

from collections.abc import Iterator
from dataclasses import replace

import psycopg
import pytest

from hookbot.errors import ConfigError
from hookbot.log.postgres_address import PostgresAddress
from hookbot.log.postgres_server import Server, require_privileges
from support.postgres import PostgresServer

SETTINGS = {
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "synchronous_standby_names": "",
}
SERVER = Server(version=15, encoding="UTF8", settings=SETTINGS, skew_s=0.0)


def test_it_is_read_from_the_server(postgres: PostgresServer) -> None:
    with psycopg.connect(postgres.url) as connection:
        server = Server.read(connection)
        assert server.version == connection.info.server_version // 10_000
    assert server.encoding == "UTF8"
    assert server.settings == SETTINGS | {"fsync": "off", "full_page_writes": "off"}
    # It is this machine's.
    assert abs(server.skew_s) < 60
    server.require()


def test_an_ordinary_role_may_read_it(postgres: PostgresServer, role: str) -> None:
    with psycopg.connect(postgres.url.replace("postgres@", f"{role}@")) as connection:
        assert Server.read(connection).settings["synchronous_standby_names"] == ""


def test_its_text_is_a_sentence_for_the_log() -> None:
    assert str(SERVER) == (
        "PostgreSQL 15: fsync is on, full_page_writes is on, synchronous_commit is on,"
        " synchronous_standby_names is empty"
    )


def test_a_server_that_is_too_old_is_refused() -> None:
    with pytest.raises(ConfigError, match="14 or later; the server is PostgreSQL 13"):
        replace(SERVER, version=13).require()


def test_a_database_of_another_encoding_is_refused(postgres: PostgresServer) -> None:
    postgres.execute("CREATE DATABASE ascii ENCODING 'SQL_ASCII' TEMPLATE template0")
    with psycopg.connect(postgres.url_of("ascii")) as connection, pytest.raises(ConfigError, match="SQL_ASCII"):
        Server.read(connection).require()


def test_a_server_that_loses_nothing_has_no_warnings() -> None:
    assert [*SERVER.warnings()] == []
    assert [*replace(SERVER, settings=SETTINGS | {"synchronous_commit": "local"}).warnings()] == []
    assert [*replace(SERVER, skew_s=-4.9).warnings()] == []


@pytest.mark.parametrize(
    ("settings", "warning"),
    [
        ({"fsync": "off"}, "fsync is off"),
        ({"full_page_writes": "off"}, "full_page_writes is off"),
        ({"synchronous_commit": "off"}, "synchronous_commit is off"),
        ({"synchronous_commit": "local", "synchronous_standby_names": "*"}, "synchronous_commit is local"),
    ],
)
def test_what_loses_messages_is_warned_of(settings: dict[str, str], warning: str) -> None:
    [told] = replace(SERVER, settings=SETTINGS | settings).warnings()
    assert warning in told


@pytest.mark.parametrize(("skew_s", "told"), [(7.2, "7 s before"), (-3600.0, "3600 s behind")])
def test_clocks_that_differ_are_warned_of(skew_s: float, told: str) -> None:
    [warning] = replace(SERVER, skew_s=skew_s).warnings()
    assert told in warning


@pytest.fixture
def role(postgres: PostgresServer) -> Iterator[str]:
    """A role with no privileges but those that every role has."""
    postgres.execute("CREATE ROLE poor LOGIN")
    yield "poor"
    postgres.execute("DROP SCHEMA IF EXISTS theirs CASCADE")
    postgres.execute("DROP OWNED BY poor")
    postgres.execute("DROP ROLE poor")


def missing(postgres: PostgresServer, role: str) -> list[str]:
    """What the role has to be granted for the schema ``theirs``."""
    address = PostgresAddress.parse(f"{postgres.url}?schema=theirs")
    with psycopg.connect(postgres.url.replace("postgres@", f"{role}@")) as connection:
        try:
            require_privileges(connection, address)
        except ConfigError as error:
            return str(error).partition("lacks privileges: ")[2].split("; ")
    return []


def test_what_a_role_lacks_is_told_as_what_to_grant_and_is_enough(postgres: PostgresServer, role: str) -> None:
    assert missing(postgres, role) == ["GRANT CREATE ON DATABASE hookbot TO poor"]
    postgres.execute("CREATE SCHEMA theirs")
    postgres.execute("CREATE TABLE theirs.log ()")
    postgres.execute("CREATE SEQUENCE theirs.pos")
    grants = missing(postgres, role)
    assert grants == [
        "GRANT CREATE ON SCHEMA theirs TO poor",
        "GRANT DELETE ON ALL TABLES IN SCHEMA theirs TO poor",
        "GRANT INSERT ON ALL TABLES IN SCHEMA theirs TO poor",
        "GRANT SELECT ON ALL SEQUENCES IN SCHEMA theirs TO poor",
        "GRANT SELECT ON ALL TABLES IN SCHEMA theirs TO poor",
        "GRANT UPDATE ON ALL SEQUENCES IN SCHEMA theirs TO poor",
        "GRANT UPDATE ON ALL TABLES IN SCHEMA theirs TO poor",
        "GRANT USAGE ON SCHEMA theirs TO poor",
    ]
    for grant in grants:
        postgres.execute(grant)
    assert missing(postgres, role) == []


def test_a_role_that_may_create_its_schema_or_owns_it_lacks_nothing(postgres: PostgresServer, role: str) -> None:
    postgres.execute("GRANT CREATE ON DATABASE hookbot TO poor")
    assert missing(postgres, role) == []
    postgres.execute("REVOKE CREATE ON DATABASE hookbot FROM poor")
    postgres.execute("CREATE SCHEMA theirs AUTHORIZATION poor")
    assert missing(postgres, role) == []
