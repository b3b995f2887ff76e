"""The connection to PostgreSQL, against a real server."""

import errno
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from hookbot.errors import ConfigError, Unavailable
from hookbot.log.postgres_address import PostgresAddress
from hookbot.log.postgres_connection import Broken, PostgresConnection
from hookbot.log.postgres_errors import reason
from support.ports import free_ports
from support.postgres import PostgresServer, running_postgres

Connection = psycopg.Connection[Any]


@pytest.fixture
def address(postgres: PostgresServer) -> PostgresAddress:
    return PostgresAddress.parse(f"{postgres.url}?schema=connections")


@pytest.fixture
async def connection(address: PostgresAddress) -> AsyncIterator[PostgresConnection]:
    connection = PostgresConnection(address, "hookbot test", lambda _: None)
    yield connection
    connection.close()


@pytest.fixture(scope="module")
def own_server() -> Iterator[PostgresServer]:
    """A server that tests may stop and freeze."""
    with running_postgres() as server:
        yield server


@asynccontextmanager
async def connection_to(
    url: str, check: Callable[[Connection], None] = lambda _: None
) -> AsyncIterator[PostgresConnection]:
    connection = PostgresConnection(PostgresAddress.parse(url), "hookbot test", check)
    try:
        yield connection
    finally:
        connection.close()


def value(statement: str) -> Callable[[Connection], Any]:
    """Work that returns the only value of a statement."""

    def work(connection: Connection) -> Any:
        row = connection.execute(statement.encode()).fetchone()
        return row and row[0]

    return work


pid = value("SELECT pg_backend_pid()")


async def test_it_connects_when_it_is_needed_first_and_stays(connection: PostgresConnection) -> None:
    assert await connection.run(pid) == await connection.run(pid)
    assert connection.do(value("SELECT 1")) == 1


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        ("application_name", "hookbot test"),
        ("lock_timeout", "8s"),
        ("statement_timeout", "30s"),
        ("idle_in_transaction_session_timeout", "5s"),
        ("tcp_keepalives_idle", "10"),
        ("tcp_keepalives_interval", "3"),
        ("tcp_keepalives_count", "3"),
        ("tcp_user_timeout", "20000"),
        ("enable_seqscan", "off"),
        ("jit", "off"),
        ("client_encoding", "UTF8"),
        ("search_path", '"connections", pg_temp'),
    ],
)
async def test_each_connection_has_the_settings(connection: PostgresConnection, name: str, setting: str) -> None:
    assert await connection.run(value(f"SHOW {name}")) == setting


async def test_a_killed_session_is_broken_and_replaced(
    postgres: PostgresServer, connection: PostgresConnection
) -> None:
    first = await connection.run(pid)
    postgres.execute("SELECT pg_terminate_backend(%s, 10000)", first)
    with pytest.raises(Broken, match="lost the connection"):
        await connection.run(value("SELECT 1"))
    assert await connection.run(pid) != first


async def test_a_session_that_was_ended_for_idling_in_a_transaction_is_broken(connection: PostgresConnection) -> None:
    def idle(session: Connection) -> None:
        session.execute("SET idle_in_transaction_session_timeout = '1ms'")
        session.execute("BEGIN")
        # Until the server ends it.
        while True:
            session.execute("SELECT 1")

    # The server's last words may be lost.
    with pytest.raises(Broken):
        await connection.run(idle)


async def test_a_statement_that_takes_too_long_is_unavailable_and_the_connection_stays(
    connection: PostgresConnection,
) -> None:
    first = await connection.run(pid)
    await connection.run(value("SELECT set_config('statement_timeout', '10ms', false)"))
    with pytest.raises(Unavailable, match="statement timeout") as error:
        await connection.run(value("SELECT pg_sleep(60)"))
    assert not isinstance(error.value, Broken)
    assert await connection.run(pid) == first


async def test_a_lock_that_another_holds_is_unavailable_and_the_transaction_is_left(
    address: PostgresAddress, connection: PostgresConnection, postgres: PostgresServer
) -> None:
    lock = f"SELECT pg_advisory_xact_lock({address.lock_key})"

    def wait(session: Connection) -> None:
        session.execute("BEGIN")
        session.execute("SET LOCAL lock_timeout = '10ms'")
        session.execute(lock.encode())

    with psycopg.connect(postgres.url) as other:
        other.execute(lock.encode())
        first = await connection.run(pid)
        with pytest.raises(Unavailable, match="lock timeout"):
            await connection.run(wait)
    await connection.run(wait)
    assert await connection.run(lambda session: session.info.transaction_status.name) == "IDLE"
    assert await connection.run(pid) == first


async def test_an_error_that_is_a_bug_is_raised_as_it_is_and_its_transaction_is_left(
    connection: PostgresConnection,
) -> None:
    def work(session: Connection) -> None:
        session.execute("BEGIN")
        session.execute("SELECT * FROM missing")

    with pytest.raises(psycopg.errors.UndefinedTable):
        await connection.run(work)
    assert await connection.run(value("SELECT 1")) == 1


async def test_an_error_within_a_pipeline_leaves_a_connection_that_works(connection: PostgresConnection) -> None:
    def work(session: Connection) -> None:
        with session.pipeline():
            session.execute("BEGIN")
            session.execute("SELECT 1 / (SELECT 0)")
            session.execute("COMMIT")

    first = await connection.run(pid)
    with pytest.raises(psycopg.errors.DivisionByZero):
        await connection.run(work)
    assert await connection.run(pid) == first


async def test_a_server_that_crashed_is_unreachable_and_heals(own_server: PostgresServer) -> None:
    async with connection_to(own_server.url) as connection:
        await connection.run(pid)
        own_server.stop()
        try:
            with pytest.raises(Broken):
                await connection.run(pid)
            for _ in range(2):
                with pytest.raises(Unavailable, match=r"^the hub cannot reach its log$") as error:
                    await connection.run(pid)
                assert not isinstance(error.value, Broken)
                assert "Connection refused" in reason(error.value)
        finally:
            own_server.start()
        assert await connection.run(pid)


async def test_a_server_that_hangs_is_given_up_at_the_deadline(own_server: PostgresServer) -> None:
    async with connection_to(own_server.url) as connection:
        first = await connection.run(pid)
        with own_server.frozen(), pytest.raises(Broken):
            await connection.run(pid, deadline_s=0.1)
        assert await connection.run(pid) != first


async def test_a_server_that_hangs_while_it_is_connected_to_is_given_up(own_server: PostgresServer) -> None:
    async with connection_to(f"{own_server.url}?connect_timeout=2") as connection:
        with own_server.frozen(), pytest.raises(Unavailable, match="cannot reach"):
            await connection.run(pid)
        assert await connection.run(pid)


async def test_work_that_is_not_overdue_is_not_aborted(connection: PostgresConnection) -> None:
    first = await connection.run(pid)
    connection.abort_if_overdue()
    await connection.run(lambda _: connection.abort_if_overdue())
    assert await connection.run(pid) == first


async def test_one_that_was_aborted_after_its_last_work_is_replaced_before_the_next(
    connection: PostgresConnection,
) -> None:
    first = await connection.run(pid)
    connection.do(lambda _: connection.abort_if_overdue(), deadline_s=0)
    assert await connection.run(pid) != first


async def test_a_host_that_the_check_refuses_is_skipped(postgres: PostgresServer, own_server: PostgresServer) -> None:
    def check(session: Connection) -> None:
        if session.info.port == postgres.port:
            raise Unavailable("an old primary")

    url = postgres.url.replace("/hookbot", f",127.0.0.1:{own_server.port}/hookbot")
    async with connection_to(url, check) as connection:
        assert await connection.run(lambda session: session.info.port) == own_server.port


async def test_a_host_that_is_down_or_cannot_be_written_to_is_skipped(
    postgres: PostgresServer, own_server: PostgresServer
) -> None:
    [nobody] = free_ports(1)
    hosts = f",127.0.0.1:{nobody},127.0.0.1:{own_server.port}/hookbot"
    postgres.execute("CREATE DATABASE only_read")
    own_server.execute("CREATE DATABASE only_read")
    postgres.execute("ALTER DATABASE only_read SET default_transaction_read_only = on")
    async with connection_to(postgres.url_of("only_read").replace("/only_read", hosts)) as connection:
        assert await connection.run(lambda session: session.info.port) == postgres.port
    url = postgres.url.replace("/hookbot", hosts).replace("/hookbot", "/only_read")
    async with connection_to(url) as connection:
        assert await connection.run(lambda session: session.info.port) == own_server.port


async def test_a_standby_is_refused_until_it_is_promoted(own_server: PostgresServer) -> None:
    async with connection_to(own_server.url) as connection:
        await connection.run(pid)
        own_server.stop("fast")
        # The server removes it when it is promoted.
        signal = own_server.data / "standby.signal"
        signal.touch()
        os.chown(signal, own_server.data.stat().st_uid, -1)
        own_server.start()
        try:
            with pytest.raises(Broken):
                await connection.run(pid)
            with pytest.raises(Unavailable, match="cannot reach"):
                await connection.run(pid)
        finally:
            own_server.execute("SELECT pg_promote()")
        assert await connection.run(value("SELECT pg_is_in_recovery()")) is False


async def test_a_process_without_files_left_cannot_reach_the_server(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_file(_: int) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    async with connection_to(postgres.url) as connection:
        with monkeypatch.context() as patch:
            patch.setattr(os, "dup", no_file)
            with pytest.raises(Unavailable, match="cannot reach"):
                await connection.run(pid)
        assert await connection.run(pid)


async def test_when_every_host_is_refused_the_operator_learns_why_of_each(postgres: PostgresServer) -> None:
    def check(_: Connection) -> None:
        raise Unavailable("an old primary")

    [nobody] = free_ports(1)
    async with connection_to(postgres.url.replace("/hookbot", f",127.0.0.1:{nobody}/hookbot"), check) as connection:
        with pytest.raises(Unavailable, match="cannot reach") as error:
            await connection.run(pid)
    assert "an old primary; connection failed" in reason(error.value)


async def test_an_error_of_the_check_that_is_a_bug_is_raised_as_it_is(postgres: PostgresServer) -> None:
    def check(session: Connection) -> None:
        session.execute("SELECT * FROM missing")

    async with connection_to(postgres.url, check) as connection:
        with pytest.raises(psycopg.errors.UndefinedTable):
            await connection.run(pid)


async def test_at_the_start_a_wrong_database_is_a_config_error(postgres: PostgresServer) -> None:
    async with connection_to(postgres.url_of("missing")) as connection:
        with pytest.raises(ConfigError, match='database "missing" does not exist; create it'):
            await connection.open()
        # Later, it heals when somebody has made it.
        with pytest.raises(Unavailable):
            await connection.run(pid)


async def test_at_the_start_a_server_that_is_down_is_unavailable() -> None:
    [port] = free_ports(1)
    async with connection_to(f"postgresql://me@127.0.0.1:{port}/hooks") as connection:
        with pytest.raises(Unavailable):
            await connection.open()


async def test_at_the_start_a_server_that_is_full_is_unavailable(postgres: PostgresServer) -> None:
    postgres.execute("CREATE ROLE crowd LOGIN CONNECTION LIMIT 0")
    async with connection_to(postgres.url.replace("postgres@", "crowd@")) as connection:
        with pytest.raises(Unavailable):
            await connection.open()
    postgres.execute("DROP ROLE crowd")


@pytest.fixture
def password(own_server: PostgresServer) -> Iterator[str]:
    """The password that the role ``guarded`` needs."""
    rules = own_server.data / "pg_hba.conf"
    before = rules.read_text()
    own_server.execute("CREATE ROLE guarded LOGIN PASSWORD 'opensesame'")
    rules.write_text(f"host all guarded 127.0.0.1/32 scram-sha-256\n{before}")
    own_server.restart()
    yield "opensesame"
    rules.write_text(before)
    own_server.restart()
    own_server.execute("DROP ROLE guarded")


async def test_a_wrong_password_is_a_config_error_at_the_start_and_never_shown(
    own_server: PostgresServer, password: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "pgpass"))
    without = own_server.url.replace("postgres@", "guarded@")
    async with connection_to(without.replace("guarded@", "guarded:wrongsesame@")) as connection:
        with pytest.raises(ConfigError, match="give the right password") as error:
            await connection.open()
    assert "sesame" not in str(error.value)
    async with connection_to(without) as connection:
        with pytest.raises(ConfigError, match="give the right password"):
            await connection.open()
        # libpq finds it where people keep it.
        (tmp_path / "pgpass").write_text(f"127.0.0.1:*:*:guarded:{password}\n")
        (tmp_path / "pgpass").chmod(0o600)
        await connection.open()


async def test_a_role_that_may_not_connect_is_a_config_error(own_server: PostgresServer) -> None:
    own_server.execute("CREATE DATABASE closed")
    own_server.execute("REVOKE CONNECT ON DATABASE closed FROM public")
    own_server.execute("CREATE ROLE outsider LOGIN")
    async with connection_to(own_server.url_of("closed").replace("postgres@", "outsider@")) as connection:
        with pytest.raises(ConfigError, match="GRANT CONNECT"):
            await connection.open()
