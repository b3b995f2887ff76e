"""Turns of readers: one at a time, with rests while messages are published."""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from hookbot.web.page_turns import MAX_REST_S, MAX_RESTS, REST_S, PageTurns


class Readers:
    """Readers that note when their turns begin, and messages that are published."""

    def __init__(self) -> None:
        self.published = 0
        self.begun: list[float] = []
        self.turns = PageTurns(lambda: self.published)

    async def read(self, duration_s: float, *, published: int = 0) -> None:
        async with self.turns:
            self.begun.append(trio.current_time())
            self.published += published
            await trio.sleep(duration_s)


@pytest.fixture
def readers() -> Readers:
    return Readers()


async def test_one_reads_at_a_time_and_the_others_wait(readers: Readers, nursery: trio.Nursery) -> None:
    async with readers.turns:
        for _ in range(3):
            nursery.start_soon(readers.read, 0)
        await wait_all_tasks_blocked()
        assert (readers.begun, readers.turns.waiting) == ([], 3)
    await wait_all_tasks_blocked()
    assert (len(readers.begun), readers.turns.waiting) == (3, 0)


async def test_without_publishers_nobody_rests(readers: Readers, autojump_clock: MockClock) -> None:
    start = trio.current_time()
    for _ in range(3):
        await readers.read(0.01)

    assert readers.begun == pytest.approx([start, start + 0.01, start + 0.02])


@pytest.mark.parametrize(
    ("duration_s", "published", "rest_s"),
    [
        (0.01, 1, REST_S),
        (0.01, 3, 3 * REST_S),
        (0.01, 1000, 0.01 * MAX_RESTS),
        (60, 1_000_000, MAX_REST_S),
    ],
)
async def test_the_more_is_published_the_longer_is_the_rest(
    readers: Readers, autojump_clock: MockClock, duration_s: float, published: int, rest_s: float
) -> None:
    start = trio.current_time()
    await readers.read(duration_s, published=published)
    await readers.read(duration_s)
    await readers.read(0)

    second = start + duration_s + rest_s
    assert readers.begun == pytest.approx([start, second, second + duration_s])


async def test_who_gives_up_during_a_rest_passes_the_turn_on(readers: Readers, autojump_clock: MockClock) -> None:
    await readers.read(1, published=1000)
    with trio.move_on_after(MAX_REST_S / 2):
        await readers.read(0)
    await readers.read(0)

    assert len(readers.begun) == 2


async def test_a_turn_that_fails_ends(readers: Readers) -> None:
    with pytest.raises(ZeroDivisionError):
        async with readers.turns:
            raise ZeroDivisionError
    await readers.read(0)

    assert len(readers.begun) == 1
