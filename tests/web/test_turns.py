from math import inf

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from hookbot.access.senders import Standing
from hookbot.web.turns import Turns

UNKNOWN, VERIFIED = Standing.UNKNOWN, Standing.VERIFIED


class Requests:
    """Requests that note in `begun` when it is their turn."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.begun: list[str] = []
        self._nursery = nursery
        self._turns = Turns(3)

    def start(self, name: str, last_turn_at: float, standing: Standing = UNKNOWN) -> trio.CancelScope:
        scope = trio.CancelScope()
        self._nursery.start_soon(self._begin, name, last_turn_at, standing, scope)
        return scope

    async def _begin(self, name: str, last_turn_at: float, standing: Standing, scope: trio.CancelScope) -> None:
        with scope:
            await self._turns.wait(standing, last_turn_at)
            self.begun.append(name)


async def test_the_request_of_the_connection_that_has_begun_none_for_the_longest_time_is_next() -> None:
    async with trio.open_nursery() as nursery:
        requests = Requests(nursery)
        requests.start("first", -inf)
        await trio.lowlevel.checkpoint()
        for name, last_turn_at in (("busy", 30), ("rare", 10), ("new", -inf), ("busiest", 40)):
            requests.start(name, last_turn_at)
        await wait_all_tasks_blocked()

    assert requests.begun == ["first", "new", "rare", "busy", "busiest"]


async def test_requests_of_the_best_standing_are_first() -> None:
    async with trio.open_nursery() as nursery:
        requests = Requests(nursery)
        requests.start("first", -inf)
        await trio.lowlevel.checkpoint()
        for name, last_turn_at, standing in (
            ("unknown", -inf, UNKNOWN),
            ("busy", 20, VERIFIED),
            ("rare", 10, VERIFIED),
        ):
            requests.start(name, last_turn_at, standing)
        await wait_all_tasks_blocked()

    assert requests.begun == ["first", "rare", "busy", "unknown"]


@pytest.mark.parametrize("given_up", ["first", "second", "third"])
async def test_a_request_that_is_given_up_keeps_no_other_from_its_turn(given_up: str) -> None:
    async with trio.open_nursery() as nursery:
        requests = Requests(nursery)
        scopes = {name: requests.start(name, -inf) for name in ("first", "second", "third")}
        await trio.lowlevel.checkpoint()
        scopes[given_up].cancel()
        await wait_all_tasks_blocked()
        requests.start("next", 10)
        await wait_all_tasks_blocked()

    assert {*requests.begun} == {"first", "second", "third", "next"} - {given_up}


async def test_a_request_that_is_given_up_at_its_turn_passes_it_on() -> None:
    turns = Turns(3)
    turn_taken = trio.Event()

    async def give_up_at_once() -> None:
        with trio.CancelScope() as scope:
            await turns.wait(UNKNOWN, -inf)
            scope.cancel()
            turn_taken.set()
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(give_up_at_once)
        await turn_taken.wait()

    await turns.wait(UNKNOWN, -inf)
