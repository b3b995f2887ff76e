"""Notifications of the PostgreSQL log. `test_postgres.py` has several hubs that notify each other."""

from collections.abc import AsyncIterator

import pytest
import trio

from hookbot.log.postgres import PostgresLog, open_postgres_log
from hookbot.log.postgres_address import PostgresAddress
from hookbot.log.postgres_duty_queries import OwnHub
from hookbot.protocol.message import Draft
from support.log_hubs import GUARD_S
from support.postgres import PostgresServer, new_schema


@pytest.fixture
def address(postgres: PostgresServer) -> PostgresAddress:
    return PostgresAddress.parse(f"{postgres.url}?schema={new_schema()}")


@pytest.fixture
async def log(address: PostgresAddress) -> AsyncIterator[PostgresLog]:
    async with open_postgres_log(address, OwnHub("here", "", "0", "")) as log:
        yield log


async def test_only_what_others_have_stored_is_read_back(log: PostgresLog) -> None:
    await log.refresh()
    # Another one: the hub itself may have woken it just now.
    wanted = log._follower._wanted = trio.Event()

    for payload in ("news here 5", "news another 0"):
        log._notifications.heed(payload)
        assert not wanted.is_set()
    log._notifications.heed("news another 5")
    assert wanted.is_set()


@pytest.mark.parametrize(("payload", "forgotten"), [("deleted 1,2", [1, 2]), ("deleted", None)])
async def test_what_others_have_deleted_is_forgotten(
    log: PostgresLog, payload: str, forgotten: list[int] | None
) -> None:
    told: list[object] = []
    log.follow_deletions(told.append)

    log._notifications.heed(payload)

    assert told == [forgotten]


@pytest.mark.parametrize(
    "payload", ["news", "news a x", f"news a {'9' * 5000}", "news a -1", "duties x", "deleted x", "deleted a 1", ""]
)
async def test_what_anybody_notifies_on_the_channel_of_the_log_does_no_harm(
    log: PostgresLog, address: PostgresAddress, postgres: PostgresServer, payload: str
) -> None:
    postgres.execute(f"SELECT pg_notify('{address.channel}', '{payload}')")
    postgres.execute(f"SELECT pg_notify('{address.channel}', 'duties')")
    with trio.fail_after(GUARD_S):
        await log.duties.changed.wait()

    assert len(await log.append([Draft("a", b"")])) == 1


async def test_after_a_loss_of_the_connection_all_is_looked_for(
    log: PostgresLog, address: PostgresAddress, postgres: PostgresServer
) -> None:
    looked = trio.Event()
    log.follow_deletions(lambda positions: looked.set() if positions is None else None)

    postgres.execute(
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query = 'LISTEN \"{address.channel}\"'"
    )

    with trio.fail_after(GUARD_S):
        await looked.wait()
