"""One connection at a time has a cursor or a group."""

from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from hookbot.broker.claims import Claims, ConsumerId, ConsumerKind
from hookbot.errors import Ended
from hookbot.protocol.paths import wanted_at
from hookbot.protocol.subscribe import SubscribeRequest

CURSOR = ConsumerId("cursor", "/sub/t", "c")
TAKEN_OVER = Ended(4001, "another connection took over")


@pytest.mark.parametrize("path", ["/sub/", "/sub/a b/c", "/unsafe/sub/a/", "/sub/group x/cursor y?recursive"])
@pytest.mark.parametrize("kind", ["cursor", "group"])
def test_a_consumer_id_survives_being_saved(kind: ConsumerKind, path: str) -> None:
    consumer_id = ConsumerId(kind, path, "na.me")

    assert ConsumerId.parse(str(consumer_id)) == consumer_id


async def test_a_released_claim_lets_those_who_wait_go_on(nursery: trio.Nursery) -> None:
    claims, freed = Claims(), trio.Event()
    claim = claims.acquire(CURSOR)

    @nursery.start_soon
    async def wait_for_it() -> None:
        await claims.until_free(CURSOR)
        freed.set()

    await wait_all_tasks_blocked()
    assert not freed.is_set()
    assert claims.release(claim)
    await freed.wait()


async def test_a_revoked_claim_ends_what_is_done_with_it_and_everything_later(nursery: trio.Nursery) -> None:
    claims, heard = Claims(), []
    claim = claims.acquire(CURSOR)

    @nursery.start_soon
    async def work() -> None:
        with pytest.raises(Ended) as ended:
            await claim.work(trio.sleep_forever)
        heard.append(ended.value)

    await wait_all_tasks_blocked()
    claims.revoke(CURSOR, TAKEN_OVER)
    await wait_all_tasks_blocked()

    assert heard == [TAKEN_OVER]
    with pytest.raises(Ended):
        await claim.work(trio.sleep_forever)


def test_a_revoked_claim_does_not_release_the_next_one() -> None:
    claims = Claims()
    first = claims.acquire(CURSOR)
    claims.revoke(CURSOR, TAKEN_OVER)
    second = claims.acquire(CURSOR)

    assert not claims.release(first)
    assert claims.find(CURSOR) is second


@pytest.mark.parametrize(
    ("path", "asked", "consumer_id"),
    [
        ("/t", {"cursor": "c"}, ConsumerId("cursor", "/sub/t", "c")),
        ("/sub/t/", {"group": "g"}, ConsumerId("group", "/sub/t/", "g")),
    ],
)
def test_a_subscription_names_its_consumer(path: str, asked: dict[str, Any], consumer_id: ConsumerId) -> None:
    wanted = wanted_at(path)

    assert ConsumerId.of(SubscribeRequest(wanted, path, "t", "v1", **asked)) == consumer_id
    assert consumer_id.wanted == wanted


def test_to_revoke_a_claim_that_nobody_has_changes_nothing() -> None:
    claims = Claims()

    claims.revoke(CURSOR, TAKEN_OVER)

    assert claims.find(CURSOR) is None
    assert claims.acquire(CURSOR).ended is None
