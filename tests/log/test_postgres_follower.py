"""The follower by itself: what `load` returns stands for the server, which `test_postgres.py` has for real."""

from collections.abc import Sequence
from itertools import pairwise

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from hookbot.log.contract import News
from hookbot.log.postgres_follower import FAR, Follower
from hookbot.protocol.message import Message, format_id


def message(position: int) -> Message:
    return Message("a", id=format_id("abcdefgh", position))


class Server:
    """Positions that are stored, and a follower of them."""

    def __init__(self, stored: Sequence[int] = (), limit: int = 3) -> None:
        self.stored = list(stored)
        self.limit = limit
        self.asked: list[tuple[int, int | None]] = []
        self.told: list[News] = []
        self.meanwhile: list[News] = []
        """Batches of this hub of which the follower is told while it loads."""
        self.follower = Follower(self._load, self.told.append, 0)

    async def _load(self, after: int, up_to: int | None) -> tuple[Sequence[Message], int, int]:
        self.asked.append((after, up_to))
        end = up_to if up_to is not None else max([after, *self.stored])
        found = [message(position) for position in self.stored if after < position <= end][: self.limit]
        await trio.lowlevel.checkpoint()
        while self.meanwhile:
            self.follower.stored(self.meanwhile.pop(0))
        return found, end, end

    def store(self, after: int, *positions: int, head: int | None = None) -> News:
        self.stored += positions
        return News(after, [message(position) for position in positions], head or positions[-1])

    @property
    def positions(self) -> list[int]:
        return [one.position for news in self.told for one in news.messages]


async def test_what_others_have_stored_is_read_and_told() -> None:
    server = Server([1, 2, 5, 6, 7, 8, 9])
    await server.follower.catch_up()

    assert server.positions == [1, 2, 5, 6, 7, 8, 9]
    assert [(news.after, news.head) for news in server.told] == [(0, 5), (5, 8), (8, 9)]
    assert server.follower.told == 9


async def test_an_own_batch_that_comes_next_is_told_at_once() -> None:
    server = Server()
    server.follower.stored(server.store(0, 1, 2))
    server.follower.stored(server.store(2, 3))

    assert server.positions == [1, 2, 3]
    assert server.asked == []


async def test_an_own_batch_waits_for_those_of_others_before_it() -> None:
    server = Server([1, 2])
    server.follower.stored(server.store(2, 3, 4))
    assert server.positions == []
    with trio.fail_after(5):
        await server.follower.wanted(within_s=60)

    await server.follower.catch_up()

    assert server.positions == [1, 2, 3, 4]
    assert server.asked == [(0, 2), (4, None)]


async def test_a_hole_before_an_own_batch_holds_nothing_up() -> None:
    server = Server()
    server.follower.stored(server.store(7, 8))
    await server.follower.catch_up()

    assert server.positions == [8]
    assert server.follower.told == 8


async def test_an_own_batch_that_was_read_before_it_was_answered_is_told_once() -> None:
    server = Server([1], limit=2)
    server.meanwhile = [server.store(1, 2, 3)]
    await server.follower.catch_up()

    assert server.positions == [1, 2, 3]


async def test_what_is_read_behind_an_own_batch_that_was_told_meanwhile_is_told_once() -> None:
    server = Server(limit=10)
    server.meanwhile = [server.store(0, 1, 2)]
    server.stored.append(3)
    await server.follower.catch_up()

    assert server.positions == [1, 2, 3]


async def test_far_behind_the_messages_are_left_to_those_who_read_them() -> None:
    server = Server([1, FAR + 2])
    await server.follower.catch_up()

    assert server.told == [News(FAR + 2, [], FAR + 2)]


async def test_what_was_skipped_is_not_told_again() -> None:
    server = Server([1, 2, 9])
    server.follower.skip_to(5)
    server.follower.skip_to(4)
    await server.follower.catch_up()

    assert [(news.after, news.head) for news in server.told] == [(5, 5), (5, 9)]
    assert server.positions == [9]


@pytest.mark.parametrize("woken", [True, False])
async def test_the_wait_ends_when_somebody_wakes_it_or_by_itself(woken: bool) -> None:
    follower = Server().follower
    if woken:
        follower.wake()
    with trio.fail_after(5):
        await follower.wanted(within_s=60 if woken else 0.01)


batches = st.lists(st.tuples(st.booleans(), st.integers(1, 4), st.integers(0, 2), st.booleans()), max_size=30)


@given(batches, st.integers(1, 5))
async def test_nothing_is_missed_doubled_or_out_of_order(
    batches: list[tuple[bool, int, int, bool]], limit: int
) -> None:
    server, head = Server(limit=limit), 0
    for own, count, hole, catches_up in batches:
        after = head + hole
        head = after + count
        news = server.store(after, *range(after + 1, head + 1))
        if own:
            (server.meanwhile.append if catches_up else server.follower.stored)(news)
        if catches_up:
            await server.follower.catch_up()
    await server.follower.catch_up()

    assert server.positions == server.stored
    assert all(before.head == news.after for before, news in pairwise(server.told))


async def test_own_batches_that_follow_a_position_that_is_lost_are_forgotten() -> None:
    server = Server([1])
    server.follower.stored(server.store(4, 5))
    server.follower.stored(server.store(7, 8))
    server.stored = [1, 8]

    server.follower.forget(lambda position: position == 4)
    await server.follower.catch_up()

    assert server.positions == [1, 8]


async def test_what_was_deleted_before_it_is_told_is_left_out() -> None:
    server = Server([1, 2, 3, 4, 5])
    server.meanwhile = [server.store(5, 6, 7)]
    server.follower.forget_deleted([2, 6])

    await server.follower.catch_up()

    assert server.positions == [1, 3, 4, 5, 7]
    assert server.follower.told == 7
