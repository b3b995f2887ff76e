"""The address of a log in PostgreSQL."""

import sys

import pytest

from hookbot.errors import ConfigError
from hookbot.log.postgres_address import PostgresAddress, require_psycopg

parse = PostgresAddress.parse
# Hubs of all versions agree on it.
KEY = 1_599_957_413_873_659_408


def test_the_schema_is_taken_out_and_everything_else_is_left_for_libpq() -> None:
    address = parse("postgres://me:pa%40ss@db.example:6543/hooks?sslmode=require&schema=team_1&application_name=x")
    assert address.schema == "team_1"
    [host] = address.hosts
    assert host == {
        "user": "me",
        "password": "pa@ss",
        "host": "db.example",
        "port": "6543",
        "dbname": "hooks",
        "sslmode": "require",
        "application_name": "x",
    }


@pytest.mark.parametrize(
    "url", ["postgresql://db/hooks", "postgresql:///hooks", "postgresql://db/hooks?sslmode=prefer"]
)
def test_the_schema_is_hookbot_unless_another_one_is_named(url: str) -> None:
    assert parse(url).schema == "hookbot"


def test_each_host_has_parameters_of_its_own() -> None:
    hosts = parse("postgresql://me@one:1,two:2,[::1]:3/hooks").hosts
    assert [(host["host"], host["port"]) for host in hosts] == [("one", "1"), ("two", "2"), ("::1", "3")]
    assert {(host["user"], host["dbname"]) for host in hosts} == {("me", "hooks")}


def test_hosts_may_be_given_as_parameters_and_a_single_port_is_that_of_all() -> None:
    hosts = parse("postgresql:///hooks?host=one,two&port=6543").hosts
    assert [(host["host"], host["port"]) for host in hosts] == [("one", "6543"), ("two", "6543")]


def test_a_host_may_be_the_folder_of_a_socket_or_none() -> None:
    assert [host["host"] for host in parse("postgresql://%2Frun%2Fpg/hooks").hosts] == ["/run/pg"]
    assert parse("postgresql:///hooks").hosts == [{"dbname": "hooks"}]


def test_a_number_of_ports_that_is_not_that_of_the_hosts_is_refused() -> None:
    with pytest.raises(ConfigError, match="3 hosts, but 2 values of port"):
        _ = parse("postgresql:///hooks?host=a,b,c&port=1,2").hosts


def test_its_text_shows_hosts_database_and_schema_and_no_password() -> None:
    address = parse("postgres://me:secret@one,two:2/hooks?schema=team&password=secret")
    assert str(address) == "postgresql://one,two:2/hooks?schema=team"
    assert "secret" not in repr(address)


@pytest.mark.parametrize(
    "url",
    [
        "mysql://me:secret@db/hooks",
        "me:secret@db/hooks",
        "postgresql://me:sec@secret@db/hooks",
        "postgresql://me:sec/secret@db/hooks",
        "postgresql://me:sec/secret?secret@db/hooks",
        "postgresql://me:secret@db/hooks?schema=Team",
        "postgresql://me:secret@db/hooks?schema=",
        "postgresql://me:secret@db/hooks?schema=pg_mine",
        "postgresql://me:secret@db/hooks?schema=" + "a" * 41,
        'postgresql://me:secret@db/hooks?schema=a";--',
        "postgresql://me:secret%zz@db/hooks",
        "postgresql://me:secret@[::1/hooks",
        "postgresql://me:secret%00@db/hooks",
        "postgresql://me:secret\udcff@db/hooks",
        "postgresql://me:secret@db/hooks?sslmod=require",
        "postgresql://me:secret@db/hooks?password",
    ],
)
def test_an_error_never_shows_a_password(url: str) -> None:
    with pytest.raises(ConfigError) as error:
        _ = parse(url).hosts
    assert "secret" not in str(error.value)
    # Python shows what an error was caused by as well.
    assert error.value.__suppress_context__ or error.value.__context__ is None


def test_a_parameter_that_libpq_does_not_know_is_named() -> None:
    with pytest.raises(ConfigError, match="no parameter 'sslmod': did you mean 'sslmode'"):
        _ = parse("postgresql://db/hooks?sslmod=require").hosts


def test_the_key_of_the_lock_depends_on_the_schema_only_and_never_changes() -> None:
    assert parse("postgresql://db/hooks").lock_key == parse("postgres://me@other/x?schema=hookbot").lock_key == KEY
    assert parse("postgresql://db/hooks?schema=team").lock_key != KEY
    assert 0 <= KEY < 2**63


def test_the_channel_is_named_after_the_schema() -> None:
    assert parse("postgresql://db/hooks?schema=team").channel == "hookbot_team"


def test_an_address_is_parsed_without_psycopg_and_using_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    address = parse("postgresql://db/hooks")
    with pytest.raises(ConfigError, match=r"pip install 'hookbot\[postgres\]'"):
        require_psycopg()
    with pytest.raises(ConfigError, match=r"pip install 'hookbot\[postgres\]'"):
        _ = address.hosts
