"""The schema of the PostgreSQL log: created once, migrated, and recognised at each connect, on a real server."""

from collections.abc import Iterator
from threading import Thread
from time import time
from typing import Any

import psycopg
import pytest
from psycopg import errors, sql

from hookbot.errors import ConfigError, Unavailable
from hookbot.log import postgres_batch
from hookbot.log.postgres_failovers import JUMP, JUMP_PER_S, Failover, Failovers, History, load_failovers
from hookbot.log.postgres_schema import (
    STEPS,
    Identity,
    check_identity,
    open_schema,
)
from hookbot.protocol.message import Draft
from support.postgres import PostgresServer, new_schema
from support.postgres_tables import LOCK_KEY, connected, leave_hole, store


@pytest.fixture(params=["test", 'with "quotes"'])
def schema(request: pytest.FixtureRequest) -> str:
    return f"{request.param}_{new_schema()}"


@pytest.fixture
def connection(postgres: PostgresServer, schema: str) -> Iterator[psycopg.Connection[Any]]:
    with connected(postgres, schema) as connection:
        yield connection


@pytest.fixture
def opened(connection: psycopg.Connection[Any], schema: str) -> Identity:
    return open_schema(connection, schema, LOCK_KEY)


def on_timeline(connection: psycopg.Connection[Any], timeline: int) -> None:
    connection.execute("UPDATE identity SET timeline = %s", (timeline,))


def later(identity: Identity) -> History:
    return identity.history._replace(timeline=identity.history.timeline + 1)


# Opening


def test_a_new_schema_has_a_name_and_a_timeline(connection: psycopg.Connection[Any], schema: str) -> None:
    identity = open_schema(connection, schema, LOCK_KEY)

    assert (len(identity.epoch), identity.version, identity.history.timeline) == (8, len(STEPS), 1)
    assert open_schema(connection, schema, LOCK_KEY) == identity


def test_an_empty_schema_is_filled(connection: psycopg.Connection[Any], schema: str) -> None:
    connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))

    assert open_schema(connection, schema, LOCK_KEY).version == len(STEPS)


def test_hubs_that_start_at_the_same_time_have_one_log(postgres: PostgresServer, schema: str) -> None:
    found = []

    def start() -> None:
        with connected(postgres, schema) as connection:
            found.append(open_schema(connection, schema, LOCK_KEY))

    threads = [Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(found) == 4
    assert len(set(found)) == 1


def test_a_hub_that_keeps_the_lock_in_silence_keeps_none_from_starting(
    connection: psycopg.Connection[Any], postgres: PostgresServer, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_batch, "SILENT_S", 0)
    monkeypatch.setattr(postgres_batch, "LOCK_TIMEOUT", "10ms")
    connection.execute("SET application_name = 'hookbot 1'")
    connection.execute("BEGIN")
    connection.execute(postgres_batch.LOCK, (LOCK_KEY,))
    with connected(postgres, schema) as starting:
        with pytest.raises(errors.LockNotAvailable):
            open_schema(starting, schema, LOCK_KEY)

        monkeypatch.setattr(postgres_batch, "LOCK_TIMEOUT", "10s")
        assert open_schema(starting, schema, LOCK_KEY).version == len(STEPS)

    with pytest.raises(psycopg.OperationalError):
        connection.execute("SELECT 1")


def test_an_earlier_version_is_migrated(connection: psycopg.Connection[Any], schema: str, opened: Identity) -> None:
    steps = (*STEPS, "CREATE TABLE more (a int)", "ALTER TABLE more ADD COLUMN b int")

    migrated = open_schema(connection, schema, LOCK_KEY, steps=steps)

    assert migrated == Identity(opened.epoch, len(STEPS) + 2, opened.history)
    assert open_schema(connection, schema, LOCK_KEY, steps=steps) == migrated
    connection.execute("SELECT b FROM more")


def test_a_migration_that_fails_changes_nothing(
    connection: psycopg.Connection[Any], schema: str, opened: Identity
) -> None:
    with pytest.raises(psycopg.errors.UndefinedTable):
        open_schema(connection, schema, LOCK_KEY, steps=(*STEPS, "CREATE TABLE more (a int)", "DROP TABLE none"))

    assert open_schema(connection, schema, LOCK_KEY) == opened
    assert connection.execute("SELECT to_regclass('more')").fetchall() == [(None,)]


@pytest.mark.usefixtures("opened")
def test_a_newer_version_is_refused(connection: psycopg.Connection[Any], schema: str) -> None:
    connection.execute("UPDATE identity SET schema_version = 99")

    with pytest.raises(ConfigError, match="is from a newer hookbot: it has version 99"):
        open_schema(connection, schema, LOCK_KEY)


@pytest.mark.parametrize("table", ["orders (id int)", "identity (name text)"])
def test_a_schema_of_another_program_is_left_alone(
    connection: psycopg.Connection[Any], schema: str, table: str
) -> None:
    connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))
    connection.execute(f"CREATE TABLE {table}".encode())

    with pytest.raises(ConfigError, match="is not one of hookbot"):
        open_schema(connection, schema, LOCK_KEY)
    assert connection.execute("SELECT to_regclass('log')").fetchall() == [(None,)]


def test_a_role_that_may_not_create_the_schema_is_told_so(connection: psycopg.Connection[Any], schema: str) -> None:
    role = sql.Identifier(schema)
    connection.execute(sql.SQL("CREATE ROLE {}").format(role))
    connection.execute(sql.SQL("SET ROLE {}").format(role))

    with pytest.raises(ConfigError, match=r"may not use the schema .* permission denied"):
        open_schema(connection, schema, LOCK_KEY)


def test_a_role_that_owns_the_schema_needs_no_other_privilege(connection: psycopg.Connection[Any], schema: str) -> None:
    role = sql.Identifier(schema)
    connection.execute(sql.SQL("CREATE ROLE {}").format(role))
    connection.execute(sql.SQL("CREATE SCHEMA {0} AUTHORIZATION {0}").format(role))
    connection.execute(sql.SQL("SET ROLE {}").format(role))

    identity = open_schema(connection, schema, LOCK_KEY)

    assert check_identity(connection, LOCK_KEY, identity.epoch, identity.history) == identity.history
    assert len(store(connection, Draft("a"))) == 1


@pytest.mark.usefixtures("opened")
def test_what_is_deleted_all_the_time_is_vacuumed_often(connection: psycopg.Connection[Any]) -> None:
    tables = connection.execute(
        "SELECT reloptions FROM pg_class WHERE oid = ANY('{log,body,once}'::regclass[])"
    ).fetchall()

    assert len(tables) == 3
    assert all("autovacuum_vacuum_scale_factor=0.02" in options for (options,) in tables)


# Each later connect


def test_the_server_of_this_log_is_accepted(connection: psycopg.Connection[Any], opened: Identity) -> None:
    assert check_identity(connection, LOCK_KEY, opened.epoch, opened.history) == opened.history
    assert load_failovers(connection) == Failovers()


def test_another_log_is_refused(connection: psycopg.Connection[Any], opened: Identity) -> None:
    with pytest.raises(Unavailable, match=f"the database has another log, '{opened.epoch}' and not 'abcdefgh'"):
        check_identity(connection, LOCK_KEY, "abcdefgh")


def test_a_database_without_the_log_is_refused(connection: psycopg.Connection[Any]) -> None:
    with pytest.raises(Unavailable, match="the log is gone"):
        check_identity(connection, LOCK_KEY, "abcdefgh")


def test_an_old_primary_is_refused(connection: psycopg.Connection[Any], opened: Identity) -> None:
    with pytest.raises(Unavailable, match="an old primary: it is on timeline 1, and the log has been on 2"):
        check_identity(connection, LOCK_KEY, opened.epoch, later(opened))
    assert load_failovers(connection) == Failovers()


@pytest.mark.parametrize("earlier", [0, 5])
def test_positions_jump_once_on_a_timeline_that_is_new_to_the_log(
    connection: psycopg.Connection[Any], opened: Identity, earlier: int
) -> None:
    store(connection, Draft("a"), Draft("b"))
    leave_hole(connection)
    on_timeline(connection, earlier)

    assert check_identity(connection, LOCK_KEY, opened.epoch) == opened.history
    assert check_identity(connection, LOCK_KEY, opened.epoch, opened.history) == opened.history

    assert load_failovers(connection) == Failovers((Failover(before=JUMP + 4, after=2, lost_up_to=2),))
    [message] = store(connection, Draft("c"))
    assert message.position == JUMP + 4


def test_positions_jump_from_the_newest_message_if_the_sequence_has_not_come_along(
    connection: psycopg.Connection[Any], opened: Identity
) -> None:
    store(connection, Draft("a"), Draft("b"))
    connection.execute("SELECT setval('pos', 0)")
    on_timeline(connection, 0)

    check_identity(connection, LOCK_KEY, opened.epoch)

    assert load_failovers(connection) == Failovers((Failover(before=JUMP + 3, after=2, lost_up_to=2),))


def test_hubs_that_see_a_failover_at_the_same_time_record_it_once(
    connection: psycopg.Connection[Any], postgres: PostgresServer, schema: str, opened: Identity
) -> None:
    on_timeline(connection, 0)

    def connect() -> None:
        with connected(postgres, schema) as other:
            check_identity(other, LOCK_KEY, opened.epoch)

    threads = [Thread(target=connect) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(load_failovers(connection).failovers) == 1


def test_messages_that_retention_has_deleted_are_not_lost_by_a_failover(
    connection: psycopg.Connection[Any], opened: Identity
) -> None:
    store(connection, *[Draft("a")] * 5)
    connection.execute("DELETE FROM log")
    connection.execute("UPDATE budget SET passed = 4 WHERE prefix = ''")
    on_timeline(connection, 0)

    check_identity(connection, LOCK_KEY, opened.epoch)

    assert load_failovers(connection) == Failovers((Failover(before=JUMP + 6, after=4, lost_up_to=4),))


def test_a_server_that_is_not_that_of_the_log_is_refused(connection: psycopg.Connection[Any], opened: Identity) -> None:
    with pytest.raises(Unavailable, match="a copy of the log"):
        check_identity(connection, LOCK_KEY, opened.epoch, opened.history._replace(system=1))


def test_positions_jump_further_from_an_old_copy(connection: psycopg.Connection[Any], opened: Identity) -> None:
    # A thousand seconds before.
    store(connection, Draft("a"), clock_us=int((time() - 1000) * 1e6))
    connection.execute("INSERT INTO hub VALUES ('h', '', '', '', now(), now(), 0)")
    connection.execute("UPDATE identity SET system = 1")

    check_identity(connection, LOCK_KEY, opened.epoch)

    [failover] = load_failovers(connection).failovers
    assert failover.before > JUMP + 1000 * JUMP_PER_S
    assert (failover.is_lossy, failover.is_open) == (True, False)


def test_positions_jump_on_a_server_that_was_set_back(connection: psycopg.Connection[Any], opened: Identity) -> None:
    store(connection, Draft("a"), Draft("a"))

    assert check_identity(connection, LOCK_KEY, opened.epoch, opened.history, told=2) == opened.history
    assert load_failovers(connection) == Failovers()
    check_identity(connection, LOCK_KEY, opened.epoch, opened.history, told=7)

    [failover] = load_failovers(connection).failovers
    assert (failover.after, failover.before) == (2, JUMP + 8)


def test_a_failover_is_recorded_although_the_connection_was_lost_meanwhile(
    connection: psycopg.Connection[Any], opened: Identity
) -> None:
    store(connection, Draft("a"), Draft("a"))
    # What is left of the first attempt: a sequence is not rolled back.
    leave_hole(connection, JUMP)

    check_identity(connection, LOCK_KEY, opened.epoch, opened.history, told=7)
    check_identity(connection, LOCK_KEY, opened.epoch, opened.history, told=2 * JUMP + 2)

    [failover] = load_failovers(connection).failovers
    assert (failover.after, failover.before) == (2, 2 * JUMP + 3)
