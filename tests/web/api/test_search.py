from collections.abc import Sequence
from math import inf

import pytest
import trio

from hookbot.access.scope import Scope
from hookbot.broker.broker import Broker, open_broker
from hookbot.errors import NotFound, Refused
from hookbot.log.memory import MemoryLog
from hookbot.protocol.expressions import Expression
from hookbot.protocol.message import Draft, Message
from hookbot.protocol.topics import EVERYTHING, TopicFilter
from hookbot.web.api.filters import Filters
from hookbot.web.api.search import PAGE_MESSAGES, Bounds, Search, position_of
from hookbot.web.page_turns import PageTurns

ALL = Scope(EVERYTHING, True, lambda action, path: None, (), ())
MANY = PAGE_MESSAGES + 50


@pytest.fixture(autouse=True)
def much_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hookbot.web.api.search.PAGE_S", inf)


async def filled(broker: Broker, number: int = MANY) -> None:
    await broker.commit([Draft(f"t/{n % 2}", b"%d" % n) for n in range(1, number + 1)])


def search(broker: Broker, filters: Filters | None = None, **where: int) -> Search[int]:
    turns = PageTurns(lambda: broker.counts.published)
    return Search(broker, turns, filters or Filters(ALL, EVERYTHING), number_of, **where)


def number_of(message: Message) -> int:
    return int(message.body)


async def all_of(made: Search[int], limit: int, bounds: Bounds) -> Sequence[Sequence[int]]:
    found = []
    while not made.ended:
        found.append(await made.run(limit, bounds))
    return found


async def test_backwards_it_finds_the_newest_first() -> None:
    async with open_broker(MemoryLog()) as broker:
        await filled(broker)
        made = search(broker, after=MANY + 1)

        first = await made.run(3)
        rest = await all_of(made, 1000, Bounds())

    assert first == [MANY, MANY - 1, MANY - 2]
    assert [n for part in rest for n in part] == list(range(MANY - 3, 0, -1))
    assert (made.position, made.searched) == (0, MANY)


async def test_forwards_it_ends_at_the_last_position() -> None:
    async with open_broker(MemoryLog()) as broker:
        await filled(broker)
        made = search(broker, Filters(ALL, TopicFilter(("t/1",))), after=2, last=9)

        assert await made.run(2) == [3, 5]
        assert await made.run(10) == [7, 9]
        assert made.ended
        assert search(broker, after=9, last=9).ended


@pytest.mark.parametrize("bounds", [Bounds(messages=1), Bounds(size=1), Bounds(turns_s=0.0)])
async def test_a_request_ends_at_each_of_its_bounds_and_another_goes_on(bounds: Bounds) -> None:
    async with open_broker(MemoryLog()) as broker:
        await filled(broker)
        made = search(broker, Filters(ALL, EVERYTHING, text="7"), after=0, last=MANY)

        found = await all_of(made, 1000, bounds)

    assert len(found) == 2
    assert [n for part in found for n in part] == [n for n in range(1, MANY + 1) if "7" in str(n)]


async def test_messages_that_take_too_many_steps_are_skipped_unless_all_do() -> None:
    where = Expression(f"body == `1` && ({'|'.join(['[@,@][]'] * 30)}) || topic")
    async with open_broker(MemoryLog()) as broker:
        await filled(broker, 3)
        some, all_ = (search(broker, Filters(ALL, EVERYTHING, where=where), after=0, last=last) for last in (3, 1))

        assert await some.run(10) == [2, 3]
        assert some.skipped == 1
        with pytest.raises(Refused, match="where takes too long"):
            await all_.run(10)


async def test_what_the_scope_does_not_see_is_not_counted() -> None:
    scope = Scope(TopicFilter(("t/1",)), False, lambda action, path: None, (), ())
    async with open_broker(MemoryLog()) as broker:
        await filled(broker, 5)
        made = search(broker, Filters(scope, EVERYTHING), after=0, last=5)

        assert await made.run(10) == [1, 3, 5]
        assert made.searched == 3


async def test_a_page_that_takes_long_ends_early(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hookbot.web.api.search.PAGE_S", -1)
    async with open_broker(MemoryLog()) as broker:
        await filled(broker, 3)
        forwards, backwards = search(broker, after=0, last=3), search(broker, after=4)

        assert [(await forwards.page(10)).found for _ in range(3)] == [[1], [2], [3]]
        assert [(await backwards.page(10)).found for _ in range(3)] == [[3], [2], [1]]
        assert (forwards.ended, backwards.ended) == (True, True)


async def test_while_a_page_is_searched_others_run() -> None:
    """The messages are looked at in a thread."""
    seen: list[bool] = []
    async with open_broker(MemoryLog()) as broker:
        await filled(broker, 1)
        turns = PageTurns(lambda: 0)
        made = Search(
            broker, turns, Filters(ALL, EVERYTHING), lambda _: seen.append(trio.lowlevel.in_trio_run()), after=2
        )

        await made.run(1)

    assert seen == [False]


async def test_ids_of_another_log_have_no_position() -> None:
    async with open_broker(MemoryLog()) as broker:
        assert position_of(broker, f"{broker.log.epoch}-000000000000007") == 7
        with pytest.raises(NotFound, match="another log"):
            position_of(broker, "otherlog-000000000000007")
        with pytest.raises(Refused, match="not a message id"):
            position_of(broker, "7")


async def test_ids_from_before_a_restore_have_their_position_up_to_the_end_of_the_backup() -> None:
    log = MemoryLog()
    log._ancestors = {"earlierx": 7}
    async with open_broker(log) as broker:
        assert position_of(broker, "earlierx-000000000000007") == 7
        with pytest.raises(NotFound, match="another log"):
            position_of(broker, "earlierx-000000000000008")
