import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from hookbot.web.fair_turns import FairTurns


@pytest.fixture
def begun() -> list[str]:
    return []


async def take(turns: FairTurns, holder: str, begun: list[str]) -> None:
    async with turns.of(holder):
        begun.append(holder)
        await trio.lowlevel.checkpoint()


async def test_others_wait_for_one_of_many_requests_of_a_holder(begun: list[str]) -> None:
    turns = FairTurns()
    async with trio.open_nursery() as nursery, turns.of("many"):
        for holder in ("many",) * 5 + ("few", "other"):
            nursery.start_soon(take, turns, holder, begun)
            await wait_all_tasks_blocked()

    assert begun == ["few", "other", *("many",) * 5]


async def test_who_gives_up_waiting_holds_up_nobody(begun: list[str]) -> None:
    turns = FairTurns()
    async with trio.open_nursery() as nursery, turns.of("a"):
        async with trio.open_nursery() as giving_up:
            for holder in ("a", "b", "b"):
                giving_up.start_soon(take, turns, holder, begun)
            await wait_all_tasks_blocked()
            giving_up.cancel_scope.cancel()
        nursery.start_soon(take, turns, "b", begun)
        await wait_all_tasks_blocked()

    assert begun == ["b"]


async def test_of_holders_without_requests_nothing_is_kept(begun: list[str]) -> None:
    turns = FairTurns()
    for n in range(100):
        await take(turns, str(n), begun)

    assert not turns._own
