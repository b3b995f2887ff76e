"""Errors of PostgreSQL."""

import psycopg
import pytest

from hookbot.errors import ConfigError, Unavailable
from hookbot.log.postgres_address import PostgresAddress
from hookbot.log.postgres_errors import Unreachable, cannot_open, is_temporary, reason, unavailable
from support.ports import free_ports
from support.postgres import PostgresServer

ADDRESS = PostgresAddress.parse("postgresql://me:secret@db/hooks")


@pytest.mark.parametrize(
    "code",
    [
        *("08006", "53100", "53300", "57P01", "57P02", "57P03", "25006", "25P03", "55P03", "57014", "40001", "40P01"),
    ],
)
def test_a_temporary_error_is_unavailable(code: str) -> None:
    error = psycopg.errors.lookup(code)("it is so")
    assert is_temporary(error)
    assert str(unavailable("read", error)) == "the hub cannot read its log: it is so"


@pytest.mark.parametrize("code", ["42601", "42P01", "23505", "22021", "XX001"])
def test_any_other_is_a_bug_and_raised_as_it_is(code: str) -> None:
    error = psycopg.errors.lookup(code)("it is so")
    assert not is_temporary(error)
    with pytest.raises(psycopg.Error) as raised:
        unavailable("read", error)
    assert raised.value is error


@pytest.mark.parametrize("kind", [psycopg.OperationalError, psycopg.InterfaceError])
def test_an_error_of_libpq_has_no_code_and_is_temporary(kind: type[psycopg.Error]) -> None:
    assert is_temporary(kind("the connection is closed"))


def test_an_error_of_several_lines_is_told_in_one() -> None:
    assert reason(psycopg.OperationalError("connection failed\n\tIs the server running?")) == (
        "connection failed Is the server running?"
    )


def connect_error(url: str) -> psycopg.Error:
    with pytest.raises(psycopg.Error) as error:
        psycopg.connect(url)
    return error.value


@pytest.mark.parametrize(
    ("before", "after", "cure"),
    [
        ("/hookbot", "/missing", "CREATE DATABASE"),
        ("postgres@", "nobody@", "CREATE ROLE"),
        ("/hookbot", "/hookbot?sslmode=require", "parameters of the address"),
        ("/hookbot", "/hookbot?sslmode=perhaps", "parameters of the address"),
    ],
)
def test_what_somebody_has_to_cure_before_the_hub_can_start_is_a_config_error(
    postgres: PostgresServer, before: str, after: str, cure: str
) -> None:
    error = cannot_open(ADDRESS, Unreachable(reason(connect_error(postgres.url.replace(before, after)))))
    assert isinstance(error, ConfigError)
    assert cure in str(error)
    assert str(ADDRESS) in str(error)


def test_a_privilege_that_is_missing_is_a_config_error() -> None:
    error = cannot_open(ADDRESS, psycopg.errors.InsufficientPrivilege("permission denied for schema hookbot"))
    assert isinstance(error, ConfigError)
    assert "permission denied for schema hookbot; grant it" in str(error)


@pytest.mark.parametrize("says", ["the database system is starting up", "sorry, too many clients already"])
def test_a_server_that_is_starting_or_full_is_unavailable(says: str) -> None:
    error = Unreachable(f"connection failed: FATAL: {says}")
    assert cannot_open(ADDRESS, error) is error


def test_a_server_that_is_down_is_unavailable_at_the_start() -> None:
    [port] = free_ports(1)
    error = cannot_open(ADDRESS, connect_error(f"postgresql://me@127.0.0.1:{port}/hooks"))
    assert isinstance(error, Unavailable)
    assert "Connection refused" in str(error)


def test_a_bug_that_shows_at_the_start_is_raised_as_it_is() -> None:
    with pytest.raises(psycopg.ProgrammingError, match="it is so"):
        cannot_open(ADDRESS, psycopg.errors.SyntaxError("it is so"))


def test_senders_are_not_told_where_the_log_is() -> None:
    assert str(Unreachable('connection to server at "10.0.0.1" failed')) == "the hub cannot reach its log"
