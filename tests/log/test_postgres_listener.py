"""The connection on which a hub hears what other hubs tell it, against a real server."""

from collections.abc import AsyncIterator, Iterator

import pytest
import trio

from hookbot.errors import Unavailable
from hookbot.log import postgres_listener
from hookbot.log.postgres_address import PostgresAddress
from hookbot.log.postgres_connection import PostgresConnection
from hookbot.log.postgres_listener import PostgresListener
from support.postgres import PostgresServer, running_postgres

CHANNEL = "hookbot_listeners"
END_LISTENER = (
    "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE application_name = 'hookbot listens'"
)


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A server that tests may stop and freeze."""
    with running_postgres() as server:
        yield server


@pytest.fixture
def address(server: PostgresServer) -> PostgresAddress:
    return PostgresAddress.parse(f"{server.url}?schema=listeners")


@pytest.fixture
async def listener(address: PostgresAddress) -> AsyncIterator[PostgresListener]:
    listener = PostgresListener(address, "hookbot listens")
    await listener.open()
    yield listener
    listener.close()


def notify(server: PostgresServer, *payloads: str) -> None:
    server.execute("SELECT pg_notify(%s, payload) FROM unnest(%s::text[]) AS payload", CHANNEL, [*payloads])


async def hear(listener: PostgresListener, count: int) -> list[str]:
    heard: list[str] = []
    with trio.fail_after(30):
        while len(heard) < count:
            heard += await listener.wait()
    return heard


async def test_what_another_connection_notifies_is_heard(server: PostgresServer, listener: PostgresListener) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.to_thread.run_sync, notify, server, "news")
        assert await hear(listener, 1) == ["news"]


async def test_what_has_arrived_before_is_heard_in_order(server: PostgresServer, listener: PostgresListener) -> None:
    notify(server, "one", "two")
    notify(server, "three")
    assert await hear(listener, 3) == ["one", "two", "three"]


async def test_cancelling_loses_nothing(server: PostgresServer, listener: PostgresListener) -> None:
    with trio.move_on_after(0) as scope:
        await listener.wait()
    assert scope.cancelled_caught
    notify(server, "news")
    with trio.CancelScope() as scope:
        scope.cancel()
        await listener.wait()
    assert await hear(listener, 1) == ["news"]


async def test_other_channels_are_not_heard(server: PostgresServer, listener: PostgresListener) -> None:
    server.execute("NOTIFY hookbot_others, 'not mine'")
    notify(server, "mine")
    assert await hear(listener, 1) == ["mine"]


async def test_what_arrives_with_the_answer_to_a_check_is_heard(
    server: PostgresServer, address: PostgresAddress
) -> None:
    listener = PostgresListener(address, "hookbot listens", check_s=0)
    await listener.open()
    payloads = [str(number) for number in range(20)]

    def notify_each() -> None:
        for payload in payloads:
            notify(server, payload)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.to_thread.run_sync, notify_each)
        assert await hear(listener, len(payloads)) == payloads
    listener.close()


async def test_a_connection_that_was_ended_is_told_and_can_be_opened_again(
    server: PostgresServer, listener: PostgresListener
) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.to_thread.run_sync, server.execute, END_LISTENER)
        with trio.fail_after(30), pytest.raises(Unavailable, match="hear the notifications"):
            await listener.wait()
    # It does not wait for what will never come.
    with pytest.raises(Unavailable, match="does not listen"):
        await listener.wait()
    await listener.open()
    notify(server, "news")
    assert await hear(listener, 1) == ["news"]


async def test_a_connection_that_ended_before_its_check_is_told(
    server: PostgresServer, address: PostgresAddress
) -> None:
    listener = PostgresListener(address, "hookbot listens", check_s=0)
    await listener.open()
    server.execute(END_LISTENER)
    with trio.fail_after(30), pytest.raises(Unavailable):
        await listener.wait()
    listener.close()


async def test_a_server_that_crashed_is_told_and_the_listener_opened_when_it_is_back(
    server: PostgresServer, listener: PostgresListener
) -> None:
    server.stop()
    try:
        with trio.fail_after(30), pytest.raises(Unavailable):
            await listener.wait()
        with pytest.raises(Unavailable, match="cannot reach"):
            await listener.open()
    finally:
        server.start()
    await listener.open()
    notify(server, "news")
    assert await hear(listener, 1) == ["news"]


async def test_a_server_that_hangs_is_noticed(
    server: PostgresServer, address: PostgresAddress, monkeypatch: pytest.MonkeyPatch
) -> None:
    listener = PostgresListener(address, "hookbot listens", check_s=0.01)
    await listener.open()
    monkeypatch.setattr(postgres_listener, "ANSWER_S", 0.1)
    with server.frozen(), trio.fail_after(30), pytest.raises(Unavailable):
        await listener.wait()
    monkeypatch.undo()
    await listener.open()
    notify(server, "news")
    assert await hear(listener, 1) == ["news"]
    listener.close()


async def test_a_check_is_due_however_often_waiting_is_cancelled(
    server: PostgresServer, address: PostgresAddress, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who waits looks without a notification now and then, too: that must not put the check off."""
    listener = PostgresListener(address, "hookbot listens", check_s=0.05)
    await listener.open()
    monkeypatch.setattr(postgres_listener, "ANSWER_S", 0.1)

    async def wait_often() -> None:
        while True:
            with trio.move_on_after(0.01):
                await listener.wait()

    with server.frozen(), trio.fail_after(30), pytest.raises(Unavailable):
        await wait_often()
    listener.close()


async def test_a_listener_that_was_not_opened_does_not_wait(address: PostgresAddress) -> None:
    with pytest.raises(Unavailable, match="does not listen"):
        await PostgresListener(address, "hookbot listens").wait()


async def test_it_hears_what_is_sent_on_another_connection_to_the_same_database(
    address: PostgresAddress, listener: PostgresListener
) -> None:
    other = PostgresConnection(address, "hookbot")
    assert await listener.hears(other.run, within_s=30)
    other.close()


async def test_a_connection_that_is_not_to_the_same_session_or_database_is_not_heard(
    server: PostgresServer, listener: PostgresListener
) -> None:
    """As through a proxy that gives the session away in which it listens."""
    other = PostgresConnection(PostgresAddress.parse(server.url_of("postgres")), "hookbot")
    assert not await listener.hears(other.run, within_s=0.1)
    other.close()
