"""Pages of the log that several subscriptions read at once."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from hookbot.broker.channels import Entry
from hookbot.broker.frame_cache import FrameCache
from hookbot.broker.limits import BrokerLimits
from hookbot.broker.page_cache import PageCache
from hookbot.errors import Unavailable
from hookbot.log.contract import Page
from hookbot.log.memory import MemoryLog
from hookbot.log.retention import Retention
from hookbot.protocol.message import Draft, Gap
from hookbot.protocol.topics import TopicFilter

A = TopicFilter.parse("a")


class CountedLog(MemoryLog):
    """A log that records its reads, and may be slow or fail."""

    def __init__(self) -> None:
        super().__init__()
        self.reads: list[int] = []
        self.may_read = trio.Event()
        self.may_read.set()
        self.errors: list[Unavailable] = []

    async def read(self, wanted: TopicFilter, *, after: int, limit: int, max_bytes: int, newest: bool = False) -> Page:
        self.reads.append(after)
        await self.may_read.wait()
        if self.errors:
            raise self.errors.pop()
        return await super().read(wanted, after=after, limit=limit, max_bytes=max_bytes, newest=newest)


@pytest.fixture
def log() -> CountedLog:
    return CountedLog()


@pytest.fixture
def limits() -> BrokerLimits:
    return BrokerLimits(page_messages=10)


@pytest.fixture
def pages(log: CountedLog, limits: BrokerLimits) -> PageCache:
    return PageCache(log, limits, FrameCache(1 << 20))


async def fill(log: CountedLog, count: int, topic: str = "a", body: bytes = b"") -> None:
    await log.append([Draft(topic, body) for _ in range(count)])


def positions(entries: Sequence[Entry | Gap]) -> list[int]:
    return [entry.position for entry in entries]


async def test_a_page_is_what_comes_next_and_how_far_it_reaches(log: CountedLog, pages: PageCache) -> None:
    await fill(log, 15)
    entries, end = await pages.read(A, after=3)
    assert (positions(entries), end) == ([4, 5, 6, 7, 8, 9, 10, 11, 12, 13], 13)
    entries, end = await pages.read(A, after=end)
    assert (positions(entries), end) == ([14, 15], 15)
    assert await pages.read(A, after=15) == ([], 15)


async def test_many_who_read_at_once_share_one_read_and_its_entries(
    log: CountedLog, pages: PageCache, nursery: trio.Nursery
) -> None:
    await fill(log, 20)
    log.may_read = trio.Event()
    results = []

    async def read() -> None:
        results.append((await pages.read(A, after=0))[0])

    for _ in range(50):
        nursery.start_soon(read)
    await wait_all_tasks_blocked()
    log.may_read.set()
    await wait_all_tasks_blocked()

    assert log.reads == [0]
    assert len(results) == 50
    assert all(entry is first for entries in results for entry, first in zip(entries, results[0], strict=True))


async def test_who_stands_in_the_middle_of_a_page_shares_it(
    log: CountedLog, pages: PageCache, nursery: trio.Nursery
) -> None:
    await fill(log, 20)
    first, _ = await pages.read(A, after=2)
    second, end = await pages.read(A, after=7)

    assert log.reads == [2]
    assert (positions(second), end) == ([8, 9, 10, 11, 12], 12)
    assert second[-1] is first[-1]


async def test_what_is_new_follows_a_page_that_once_was_the_last(log: CountedLog, pages: PageCache) -> None:
    await fill(log, 3)
    assert await pages.read(A, after=0) == (await pages.read(A, after=0))
    await fill(log, 3)

    entries, end = await pages.read(A, after=0)
    assert (positions(entries), end) == ([1, 2, 3], 3)
    entries, end = await pages.read(A, after=3)
    assert (positions(entries), end) == ([4, 5, 6], 6)
    assert log.reads == [0, 3]


async def test_who_waits_for_a_page_that_does_not_reach_them_reads_their_own(
    log: CountedLog, pages: PageCache, nursery: trio.Nursery
) -> None:
    await fill(log, 30)
    log.may_read = trio.Event()
    results = {}

    async def read(after: int) -> None:
        results[after] = await pages.read(A, after=after)

    for after in (0, 15):
        nursery.start_soon(read, after)
        await wait_all_tasks_blocked()
    log.may_read.set()
    await wait_all_tasks_blocked()

    assert positions(results[15][0]) == list(range(16, 26))
    assert positions(results[0][0]) == list(range(1, 11))


async def test_filters_do_not_share_pages(log: CountedLog, pages: PageCache) -> None:
    await fill(log, 2)
    await fill(log, 2, topic="b")
    assert positions((await pages.read(A, after=0))[0]) == [1, 2]
    assert positions((await pages.read(TopicFilter.parse("b"), after=0))[0]) == [3, 4]
    assert positions((await pages.read(TopicFilter.parse(""), after=0))[0]) == [1, 2, 3, 4]


async def test_a_page_whose_messages_retention_took_is_not_served_again(log: CountedLog, pages: PageCache) -> None:
    await fill(log, 10)
    await pages.read(A, after=0)
    await log.trim(Retention(max_count=4), now_us=0)
    assert positions((await pages.read(A, after=0))[0]) == [7, 8, 9, 10]


@pytest.mark.parametrize("known", [True, False])
async def test_what_is_deleted_while_a_page_is_read_is_not_in_it_for_all_who_wait(
    log: CountedLog, pages: PageCache, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    await fill(log, 3)
    log.follow_deletions(lambda positions: pages.forget(positions if known else None))
    read_once, results = log.read, []

    async def read_and_delete(wanted: TopicFilter, **how: Any) -> Page:
        page = await read_once(wanted, **how)
        if len(page.messages) == 3:
            await log.delete([2])
        return page

    async def read() -> None:
        results.append(positions((await pages.read(A, after=0))[0]))

    monkeypatch.setattr(log, "read", read_and_delete)
    async with trio.open_nursery() as readers:
        for _ in range(3):
            readers.start_soon(read)

    assert results == [[1, 3]] * 3


async def test_after_a_failure_the_next_one_tries_again(
    log: CountedLog, pages: PageCache, nursery: trio.Nursery
) -> None:
    await fill(log, 3)
    log.errors = [Unavailable("no disk")]
    log.may_read = trio.Event()
    results: list[str | list[int]] = []

    async def read() -> None:
        try:
            results.append(positions((await pages.read(A, after=0))[0]))
        except Unavailable as error:
            results.append(str(error))

    for _ in range(3):
        nursery.start_soon(read)
    await wait_all_tasks_blocked()
    log.may_read.set()
    await wait_all_tasks_blocked()

    assert results == ["no disk", [1, 2, 3], [1, 2, 3]]


async def test_who_is_cancelled_while_they_read_leaves_it_to_the_next(
    log: CountedLog, pages: PageCache, nursery: trio.Nursery
) -> None:
    await fill(log, 3)
    log.may_read = trio.Event()
    with trio.CancelScope() as scope:
        nursery.start_soon(wait_and_cancel, scope)
        await pages.read(A, after=0)
    log.may_read.set()
    assert positions((await pages.read(A, after=0))[0]) == [1, 2, 3]


async def wait_and_cancel(scope: trio.CancelScope) -> None:
    await wait_all_tasks_blocked()
    scope.cancel()


@pytest.mark.parametrize("limits", [BrokerLimits(page_messages=10, cached_pages=3)])
async def test_only_so_many_pages_are_kept(log: CountedLog, pages: PageCache) -> None:
    await fill(log, 50)
    for after in (0, 10, 20, 30, 40):
        await pages.read(A, after=after)
    for after in (20, 30, 40):
        await pages.read(A, after=after)
    assert log.reads == [0, 10, 20, 30, 40]
    await pages.read(A, after=0)
    assert log.reads == [0, 10, 20, 30, 40, 0]


@pytest.mark.parametrize("limits", [BrokerLimits(page_messages=10, cached_bytes=15_000)])
async def test_only_so_many_bytes_are_kept_but_at_least_the_last_page(log: CountedLog, pages: PageCache) -> None:
    await fill(log, 20, body=b"x" * 1000)
    for after in (0, 10, 10, 0):
        await pages.read(A, after=after)
    assert log.reads == [0, 10, 0]


@pytest.mark.parametrize("limits", [BrokerLimits(page_messages=10, cached_bytes=15_000)])
async def test_a_page_makes_room_for_the_next_one_before_that_is_read(
    log: CountedLog, pages: PageCache, nursery: trio.Nursery
) -> None:
    await fill(log, 20, body=b"x" * 1000)
    await pages.read(A, after=0)
    log.may_read = trio.Event()
    nursery.start_soon(partial(pages.read, A, after=10))
    await wait_all_tasks_blocked()
    nursery.start_soon(partial(pages.read, A, after=0))
    await wait_all_tasks_blocked()
    log.may_read.set()
    await wait_all_tasks_blocked()
    assert log.reads == [0, 10, 0]


async def test_one_page_is_read_at_a_time(log: CountedLog, pages: PageCache, nursery: trio.Nursery) -> None:
    await fill(log, 40)
    log.may_read = trio.Event()
    for after in (0, 20, 30):
        nursery.start_soon(partial(pages.read, A, after=after))
    await wait_all_tasks_blocked()
    assert len(log.reads) == 1

    log.may_read.set()
    await wait_all_tasks_blocked()
    assert sorted(log.reads) == [0, 20, 30]


@given(
    st.lists(st.sampled_from(["append", "trim", "a", "b", ""]), max_size=30),
    st.lists(st.integers(0, 60), min_size=30, max_size=30),
)
async def test_a_page_never_misses_doubles_or_reorders_a_message(operations: list[str], numbers: list[int]) -> None:
    log = MemoryLog()
    pages = PageCache(log, BrokerLimits(page_messages=10), FrameCache(1 << 20))
    for operation, number in zip(operations, numbers, strict=False):
        if operation == "append":
            await log.append([Draft("ab"[(number + n) % 2]) for n in range(number % 17)])
        elif operation == "trim":
            await log.trim(Retention(max_count=number), now_us=0)
        else:
            wanted = TopicFilter.parse(operation)
            entries, end = await pages.read(wanted, after=number)
            page = await log.read(wanted, after=number, limit=1000, max_bytes=1 << 30)
            assert positions(entries) == [m.position for m in page.messages if m.position <= end]
            assert end > number or end >= log.head or number > log.head
