"""The contract of every log. A new engine is a new parameter of the fixture `open_log`, not a new file."""

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hookbot.callbacks import result_of
from hookbot.errors import Superseded
from hookbot.log.contract import Behind, Log, Move, News, Noted, Page, Result, Unit
from hookbot.log.deduplication import Outcome
from hookbot.log.memory import MemoryLog
from hookbot.log.retention import STEP_ROWS, Retention
from hookbot.log.sqlite import SqliteLog
from hookbot.protocol.message import Draft, Duplicate, Message, Once, Verified, format_id, parse_id
from hookbot.protocol.topics import TopicFilter
from support.clock import Clock

DAY_US = 86400 * 1_000_000
EVERYTHING = TopicFilter(("", "/unsafe/"))
KEEP_ALL = Retention(max_age_s=None, max_bytes=None, max_unsafe_bytes=None)

engines = settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@pytest.fixture
async def scanning_log(
    open_log: Callable[..., AbstractAsyncContextManager[MemoryLog | SqliteLog]],
) -> AsyncIterator[MemoryLog | SqliteLog]:
    """A log that scans ten positions at once."""
    async with open_log(scan_length=10) as log:
        yield log


async def store(log: Log, *topics: str, body: bytes = b"") -> list[int]:
    """Append an empty message to each topic; their positions."""
    return [message.position for message in stored(await log.append([Draft(topic, body) for topic in topics]))]


def stored(outcomes: Sequence[Outcome]) -> list[Message]:
    return [outcome for outcome in outcomes if isinstance(outcome, Message)]


async def read(
    log: Log, *patterns: str, after: int = 0, limit: int = 1000, max_bytes: int = 1 << 20, newest: bool = False
) -> Page:
    return await log.read(TopicFilter(patterns), after=after, limit=limit, max_bytes=max_bytes, newest=newest)


async def pages(log: Log, wanted: TopicFilter, after: int = 0, limit: int = 1000) -> AsyncIterator[Page]:
    """Every page from `after` to the head."""
    while after < log.head:
        page = await log.read(wanted, after=after, limit=limit, max_bytes=1 << 20)
        assert page.next_after > after
        after = page.next_after
        yield page


async def positions(log: Log, *patterns: str, after: int = 0) -> list[int]:
    """Positions of all messages that the patterns select after `after`."""
    wanted = TopicFilter(patterns)
    return [message.position async for page in pages(log, wanted, after) for message in page.messages]


async def behind(log: Log, *patterns: str, after: int, limit: int = 1000) -> Behind:
    return await log.behind(TopicFilter(patterns), after=after, limit=limit)


async def trim(log: Log, retention: Retention, now_us: int) -> None:
    while await log.trim(retention, now_us=now_us):
        pass


# Ids and times


async def test_ids_name_the_log_and_count_from_one(log: MemoryLog | SqliteLog) -> None:
    assert log.head == 0

    outcomes = await log.append([Draft("a"), Draft("b")])

    assert [parse_id(message.id) for message in stored(outcomes)] == [(log.epoch, 1), (log.epoch, 2)]
    assert log.head == 2


async def test_an_epoch_is_eight_letters_that_no_other_log_has(log: MemoryLog | SqliteLog) -> None:
    assert parse_id(format_id(log.epoch, 1)) == (log.epoch, 1)
    assert log.epoch != MemoryLog().epoch


async def test_a_message_is_given_the_time_of_its_commit(log: MemoryLog | SqliteLog, clock: Clock) -> None:
    clock.now_us += 5

    [message] = stored(await log.append([Draft("a")]))

    assert message.time_us == clock.now_us


async def test_times_do_not_run_backwards_when_the_clock_does(log: MemoryLog | SqliteLog, clock: Clock) -> None:
    [before] = stored(await log.append([Draft("a")]))
    clock.now_us -= 3600 * 1_000_000

    [after] = stored(await log.append([Draft("/unsafe/a")]))

    assert after.time_us == before.time_us


async def test_ids_go_on_after_retention_has_taken_everything(log: MemoryLog | SqliteLog, clock: Clock) -> None:
    await store(log, "a", "/unsafe/a")
    await trim(log, Retention(max_count=0), clock.now_us)
    assert await positions(log, *EVERYTHING.patterns) == []

    assert await store(log, "a") == [3]
    assert await positions(log, "a") == [3]


# What is stored


header_text = st.text(st.characters(max_codepoint=255), max_size=20)
any_text = st.text(st.characters(exclude_categories=()), max_size=20)  # halves of surrogate pairs, too
any_id = st.integers(1, 99).map(partial(format_id, "abcdefgh"))
drafts = st.builds(
    Draft,
    topic=st.sampled_from(["", "a", "a/", "a/b", "/unsafe/a", "ä/\U0001f600", 'quo"te\\']),
    body=st.binary(max_size=200),
    headers=st.lists(st.tuples(header_text, header_text), max_size=4).map(tuple),
    query=any_text,
    verified=st.none() | st.builds(Verified, any_text, any_text, st.none() | st.floats(0, 1e12), st.none() | any_text),
    hops=st.lists(any_text, max_size=3).map(tuple),
    replay_of=st.none() | any_id,
    routed_from=st.none() | any_id,
)


@pytest.mark.slow
@engines
@given(batch=st.lists(drafts, min_size=1, max_size=9))
async def test_what_is_read_is_what_was_published(open_log: Callable[..., Any], batch: list[Draft]) -> None:
    async with open_log() as log:
        before = log.head
        answered = stored(await log.append(batch))
        read_back = [m async for page in pages(log, EVERYTHING, before) for m in page.messages]

    assert read_back == answered
    for draft, message in zip(batch, read_back, strict=True):
        for name in ("topic", "body", "headers", "query", "verified", "hops", "replay_of", "routed_from"):
            assert getattr(message, name) == getattr(draft, name)


async def test_a_body_of_many_megabytes_survives(log: MemoryLog | SqliteLog) -> None:
    body = bytes(range(256)) * (25 << 12)

    await store(log, "a", body=body)

    page = await read(log, "a", max_bytes=1)
    assert [message.body for message in page.messages] == [body]


async def test_a_large_batch_is_stored_in_order(log: MemoryLog | SqliteLog) -> None:
    await log.append([Draft("a", b"%d" % number) for number in range(777)])

    messages = [m async for page in pages(log, EVERYTHING, limit=100) for m in page.messages]

    assert [message.body for message in messages] == [b"%d" % number for number in range(777)]
    assert [message.position for message in messages] == list(range(1, 778))


async def test_appending_nothing_changes_nothing(log: MemoryLog | SqliteLog) -> None:
    assert list(await log.append([])) == []
    assert log.head == 0


# Reading


segments = st.lists(st.sampled_from(["a", "a0", "a.", "b", "unsafe", "\U0001f600"]), min_size=1, max_size=3).map(
    "/".join
)
topics = st.just("") | st.builds(
    "{}{}{}".format, st.sampled_from(["", "/unsafe/"]), segments, st.sampled_from(["", "/"])
)
patterns = topics | st.sampled_from(["/unsafe/"]) | segments.map("{}/".format)


@pytest.mark.slow
@engines
@given(batch=st.lists(topics, min_size=1, max_size=20), wanted=st.lists(patterns, min_size=1, max_size=3))
async def test_a_filter_selects_what_it_matches_and_nothing_else(
    open_log: Callable[..., Any], batch: list[str], wanted: list[str]
) -> None:
    async with open_log() as log:
        before = log.head
        placed = dict(zip(await store(log, *batch), batch, strict=True))
        selected = await positions(log, *wanted, after=before)

    matches = TopicFilter(tuple(wanted)).matches
    assert selected == [position for position, topic in placed.items() if matches(topic)]


async def test_a_page_ends_at_its_limit_and_the_next_one_goes_on_there(log: MemoryLog | SqliteLog) -> None:
    await store(log, "a", "b", "a", "a")

    first = await read(log, "a", limit=2)
    second = await read(log, "a", limit=2, after=first.next_after)

    assert ([m.position for m in first.messages], first.next_after) == ([1, 3], 3)
    assert ([m.position for m in second.messages], second.next_after) == ([4], 4)


async def test_a_page_holds_about_max_bytes(log: MemoryLog | SqliteLog) -> None:
    await store(log, "a", "a", "a", body=bytes(1000))

    page = await read(log, "a", max_bytes=2500)

    assert ([m.position for m in page.messages], page.next_after) == ([1, 2], 2)


async def test_a_message_larger_than_max_bytes_comes_alone(log: MemoryLog | SqliteLog) -> None:
    await store(log, "a", body=bytes(1000))
    await store(log, "a")

    page = await read(log, "a", max_bytes=10)

    assert ([m.position for m in page.messages], page.next_after) == ([1], 1)


async def test_the_last_page_reaches_the_head_whatever_other_topics_had_since(log: MemoryLog | SqliteLog) -> None:
    await store(log, "a", "b", "b")

    assert (await read(log, "a")).next_after == 3


async def test_a_page_after_the_head_is_empty(log: MemoryLog | SqliteLog) -> None:
    await store(log, "a")

    assert await read(log, "a", after=1) == await read(log, "a", after=99) == Page([], 1)


async def test_nothing_is_selected_by_no_pattern(log: MemoryLog | SqliteLog) -> None:
    await store(log, "a")

    assert await read(log) == Page([], 1)


async def test_the_newest_come_first_when_reading_backwards(log: MemoryLog | SqliteLog) -> None:
    await store(log, "a", "b", "a", "a", "b")

    first = await read(log, "a", after=log.head + 1, limit=2, newest=True)
    second = await read(log, "a", after=first.next_after, limit=2, newest=True)

    assert ([m.position for m in first.messages], first.next_after) == ([4, 3], 3)
    assert ([m.position for m in second.messages], second.next_after) == ([1], 0)


async def test_a_page_read_backwards_holds_about_max_bytes(log: MemoryLog | SqliteLog) -> None:
    await store(log, "a", "a", "a", body=bytes(1000))

    page = await read(log, "a", after=4, max_bytes=2500, newest=True)

    assert ([m.position for m in page.messages], page.next_after) == ([3, 2], 2)


async def test_what_is_behind_is_counted_and_since_when_it_waits(log: MemoryLog | SqliteLog, clock: Clock) -> None:
    await store(log, "a", "b")
    clock.now_us += 1_000_000
    [_, first] = stored(await log.append([Draft("/unsafe/a"), Draft("a/b")]))
    await store(log, "a", "c")

    assert await behind(log, "a", "a/", after=1) == Behind(2, False, first.time_us, log.head)
    assert await behind(log, "a", "a/", after=1, limit=2) == Behind(2, False, first.time_us, log.head)
    assert await behind(log, "a", "a/", after=1, limit=1) == Behind(1, True, first.time_us, log.head)


@pytest.mark.parametrize(("pattern", "after"), [("a", 1), ("a", 99), ("b", 2), ("c", 0), ("/unsafe/", 0)])
async def test_nothing_is_behind_at_the_newest_message(
    log: MemoryLog | SqliteLog, pattern: str, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store(log, "a", "b")
    # Nothing is read.
    monkeypatch.delattr(type(log), "_count")

    assert await behind(log, pattern, after=after) == Behind(0, False, 0)


async def test_what_one_scan_does_not_find_may_be_behind(scanning_log: MemoryLog | SqliteLog) -> None:
    log = scanning_log
    await store(log, "a", *["b"] * 10, "a", *["b"] * 4)

    scanned = await behind(log, "a", after=1)
    assert scanned[:3] == (0, True, 0)
    assert (await behind(log, "a", after=scanned.end))[:2] == (1, False)
    assert (await behind(log, "a", after=2))[:2] == (1, False)
    assert (await behind(log, "b", after=0))[:2] == (9, True)
    assert (await behind(log, "b", after=6))[:2] == (9, False)


async def test_what_retention_has_deleted_is_not_behind(log: MemoryLog | SqliteLog, clock: Clock) -> None:
    await store(log, "a", "a", "a")
    await trim(log, Retention(max_count=1), clock.now_us)

    assert (await behind(log, "a", after=0))[:2] == (1, False)


async def test_a_rare_topic_is_found_scan_by_scan(scanning_log: MemoryLog | SqliteLog) -> None:
    log = scanning_log
    await store(log, *["rare", *["busy"] * 6] * 6)

    found = [page async for page in pages(log, TopicFilter(("rare",)))]

    assert len(found) > 2
    assert [m.position for page in found for m in page.messages] == [1, 8, 15, 22, 29, 36]


async def test_a_rare_topic_is_found_backwards_scan_by_scan(scanning_log: MemoryLog | SqliteLog) -> None:
    log = scanning_log
    await store(log, *["rare", *["busy"] * 6] * 6)
    found, after = [], log.head + 1

    while after:
        page = await read(log, "rare", after=after, newest=True)
        assert page.next_after < after
        found.append(page)
        after = page.next_after

    assert len(found) > 2
    assert [m.position for page in found for m in page.messages] == [36, 29, 22, 15, 8, 1]


@pytest.mark.slow
async def test_a_reader_misses_nothing_while_others_publish(log: MemoryLog | SqliteLog) -> None:
    found: list[int] = []

    async def publish() -> None:
        for number in range(60):
            await store(log, *["a", "b"] * (number % 5 + 1))

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(publish)
            while len(found) < 60 * 3:
                page = await read(log, "a", after=found[-1] if found else 0, limit=10)
                found += [message.position for message in page.messages]

    assert found == list(range(1, log.head, 2))


# Where a time is


async def test_the_position_before_a_time_has_everything_since_after_it(
    log: MemoryLog | SqliteLog, clock: Clock
) -> None:
    start = clock.now_us
    for _ in range(5):
        clock.now_us += 10
        await store(log, "a", "/unsafe/a")

    assert await log.position_before(start) == 0
    assert await log.position_before(start + 10) == 0
    assert await log.position_before(start + 11) == 2
    assert await log.position_before(start + 50) == 8
    assert await log.position_before(start + 51) == 10


async def test_the_position_before_a_time_finds_its_way_through_what_retention_left(
    log: MemoryLog | SqliteLog, clock: Clock
) -> None:
    start = clock.now_us
    for topic in ("/unsafe/a", "a", "/unsafe/a", "/unsafe/a", "a"):
        clock.now_us += 10
        await store(log, topic)
    await trim(log, replace(KEEP_ALL, max_unsafe_bytes=0), clock.now_us)

    since = [await positions(log, "a", after=await log.position_before(start + 10 * n)) for n in range(1, 7)]
    assert since == [[2, 5], [2, 5], [5], [5], [5], []]


async def test_a_time_after_all_that_retention_took_leads_into_no_gap(log: MemoryLog | SqliteLog, clock: Clock) -> None:
    await store(log, "a")
    clock.now_us += 8 * DAY_US
    await store(log, "a")
    await trim(log, Retention(), clock.now_us)
    a = TopicFilter(("a",))

    assert await log.position_before(clock.now_us - DAY_US) >= log.lost_up_to(a) == 1
    assert await log.position_before(clock.now_us - 9 * DAY_US) == 0


# Following


async def test_what_is_stored_is_told_in_order_and_once(log: MemoryLog | SqliteLog) -> None:
    await store(log, "before")
    told: list[News] = []
    log.follow(told.append)

    for number in range(20):
        await store(log, *["a"] * (number % 3))
    await log.refresh()

    assert [message.position for news in told for message in news.messages] == list(range(2, log.head + 1))
    assert [news.after for news in told] == [1, *[news.head for news in told[:-1]]]
    assert told[-1].head == log.head


async def test_what_is_stored_while_another_batch_is_answered_is_told_after_that(log: MemoryLog | SqliteLog) -> None:
    order: list[object] = []
    stored = trio.Event()

    def store_another(result: object) -> None:
        order.append("answered")
        log.store([Unit([Draft("second")])], lambda _: stored.set())

    log.follow(lambda news: order.extend(message.topic for message in news.messages))
    log.store([Unit([Draft("first")])], store_another)
    with trio.fail_after(20):
        await stored.wait()
    await log.refresh()

    assert order == ["answered", "first", "second"]


# Units


async def results_of(log: Log, *units: Unit) -> list[Result]:
    return list(await result_of(partial(log.store, units)))


async def test_a_cursor_is_moved_only_from_where_it_is(log: MemoryLog | SqliteLog) -> None:
    await log.append([], cursors={"a": 1})

    await log.append([Draft("t")], cursors={"a": Move(1, 5)})
    with pytest.raises(Superseded, match="the cursor 'a' is no longer at position 1"):
        await log.append([Draft("t")], cursors={"a": Move(1, 6), "b": 2})

    assert [(cursor.name, cursor.position) for cursor in await log.cursors()] == [("a", 5)]
    assert log.head == 1


async def test_a_new_cursor_is_one_that_is_not_there(log: MemoryLog | SqliteLog) -> None:
    await log.append([], cursors={"a": Move(None, 1)})
    with pytest.raises(Superseded):
        await log.append([], cursors={"a": Move(None, 2)})
    await log.append([], cursors={"a": None})
    await log.append([], cursors={"a": Move(None, 3)})
    with pytest.raises(Superseded):
        await log.append([], cursors={"b": Move(0, 1)})

    assert [(cursor.name, cursor.position) for cursor in await log.cursors()] == [("a", 3)]


async def test_a_unit_that_is_superseded_harms_no_other_of_its_batch(log: MemoryLog | SqliteLog) -> None:
    await log.append([], cursors={"a": 1, "b": 1})

    results = await results_of(
        log,
        Unit([Draft("first")]),
        Unit([Draft("moved")], {"a": Move(1, 2)}),
        Unit([Draft("late"), Draft("late")], {"b": Move(1, 9), "a": Move(1, 3)}),
        Unit([Draft("moved on")], {"a": Move(2, 4)}),
        Unit([Draft("last")], {"b": 7}),
    )

    assert [isinstance(result, Superseded) for result in results] == [False, False, True, False, False]
    read_back = await read(log, *EVERYTHING.patterns)
    assert [message.topic for message in read_back.messages] == ["first", "moved", "moved on", "last"]
    assert [(cursor.name, cursor.position) for cursor in await log.cursors()] == [("a", 4), ("b", 7)]


async def test_a_key_of_a_superseded_unit_was_not_used(log: MemoryLog | SqliteLog) -> None:
    draft = Draft("a", once=(Once("idempotency", "a", "key"),))

    superseded, stored_after = await results_of(log, Unit([draft], {"c": Move(1, 2)}), Unit([draft]))

    assert isinstance(superseded, Superseded)
    assert not isinstance(stored_after, Superseded)
    assert len(stored(stored_after)) == 1


# Cursors


async def test_cursors_are_saved_with_the_drafts_of_their_commit(log: MemoryLog | SqliteLog, clock: Clock) -> None:
    await log.append([Draft("a")], cursors={"router/github": 0, "sub/é": 7})
    clock.now_us += 1
    await log.append([], cursors={"router/github": 1})

    assert [(c.name, c.position, c.updated_us) for c in await log.cursors()] == [
        ("router/github", 1, clock.now_us),
        ("sub/é", 7, clock.now_us - 1),
    ]


async def test_a_note_is_kept_with_its_cursor_until_the_next_save(log: MemoryLog | SqliteLog) -> None:
    async def saved() -> list[tuple[str, int, str]]:
        return [(cursor.name, cursor.position, cursor.note) for cursor in await log.cursors()]

    await log.append([], cursors={"a": Noted(1, "x" * 20_000), "b": Noted(2), "c": 3})
    assert await saved() == [("a", 1, "x" * 20_000), ("b", 2, ""), ("c", 3, "")]

    await log.append([], cursors={"a": 4, "b": Noted(5, "ü"), "c": None})
    assert await saved() == [("a", 4, ""), ("b", 5, "ü")]


async def test_cursors_are_listed_by_the_beginning_of_their_name(log: MemoryLog | SqliteLog) -> None:
    await log.append([], cursors={"a": 1, "a/": 2, "a/b": 3, "a0": 4, "%": 5, "a_": 6})

    assert [cursor.name for cursor in await log.cursors("a/")] == ["a/", "a/b"]
    assert [cursor.name for cursor in await log.cursors("%")] == ["%"]
    assert [cursor.name for cursor in await log.cursors("_")] == []


async def test_a_cursor_of_none_is_deleted(log: MemoryLog | SqliteLog) -> None:
    await log.append([], cursors={"a": 1, "b": 2})
    await log.append([], cursors={"a": None, "never": None})

    assert [cursor.name for cursor in await log.cursors()] == ["b"]


# Retention


async def test_what_is_too_old_goes(log: MemoryLog | SqliteLog, clock: Clock) -> None:
    await store(log, "a", "/unsafe/a")
    clock.now_us += 10 * 1_000_000 + 1
    await store(log, "a", "/unsafe/a")

    await trim(log, replace(KEEP_ALL, max_age_s=10), clock.now_us)

    assert await positions(log, *EVERYTHING.patterns) == [3, 4]


async def test_what_is_too_many_goes_oldest_first(log: MemoryLog | SqliteLog, clock: Clock) -> None:
    await store(log, *["a"] * 5)

    await trim(log, replace(KEEP_ALL, max_count=2), clock.now_us)

    assert await positions(log, "a") == [4, 5]
    assert log.trimmed == 3


async def test_it_is_known_what_the_safe_and_the_unsafe_part_hold(log: MemoryLog | SqliteLog, clock: Clock) -> None:
    await trim(log, KEEP_ALL, clock.now_us)
    assert {used.messages for used in log.usage().values()} <= {0}
    first = clock.now_us
    await store(log, "a")
    clock.now_us += 5
    await store(log, "/unsafe/a", "a", body=bytes(100))
    # One of several hubs counts what was stored when it trims.
    await trim(log, KEEP_ALL, clock.now_us)

    used = log.usage()
    assert {prefix: (one.messages, one.oldest_us) for prefix, one in used.items()} == {
        "": (2, first),
        "/unsafe/": (1, first + 5),
    }
    assert used[""].size > used["/unsafe/"].size > 100


async def test_what_is_too_much_goes_until_the_rest_fits(log: MemoryLog | SqliteLog, clock: Clock) -> None:
    await store(log, *["a"] * 5, body=bytes(10_000))

    await trim(log, replace(KEEP_ALL, max_bytes=25_000), clock.now_us)

    assert await positions(log, "a") == [4, 5]


async def test_without_limits_everything_stays(log: MemoryLog | SqliteLog, clock: Clock) -> None:
    await store(log, *["a"] * 5, "/unsafe/a")

    assert not await log.trim(KEEP_ALL, now_us=clock.now_us + 1000 * DAY_US)

    assert await positions(log, *EVERYTHING.patterns) == [1, 2, 3, 4, 5, 6]
    assert log.lost_up_to(EVERYTHING) == 0


async def test_unsafe_messages_never_push_out_a_safe_one(log: MemoryLog | SqliteLog, clock: Clock) -> None:
    await store(log, "safe", body=bytes(1000))
    await store(log, *["/unsafe/a"] * 20, body=bytes(1000))

    await trim(log, Retention(max_bytes=5000, max_unsafe_bytes=5000, max_count=3), clock.now_us)

    assert await positions(log, *EVERYTHING.patterns) == [1, 19, 20, 21]


async def test_only_those_who_could_have_heard_it_are_told_of_a_loss(log: MemoryLog | SqliteLog, clock: Clock) -> None:
    await store(log, "a", "/unsafe/a", "a", "/unsafe/a", "a")

    await trim(log, replace(KEEP_ALL, max_unsafe_bytes=0), clock.now_us)

    assert log.lost_up_to(TopicFilter(("",))) == log.lost_up_to(TopicFilter(("a",))) == 0
    assert log.lost_up_to(TopicFilter(("/unsafe/b/",))) == 4
    assert log.lost_up_to(EVERYTHING) == 4
    assert await positions(log, *EVERYTHING.patterns) == [1, 3, 5]


async def test_retention_goes_in_bounded_steps(log: MemoryLog | SqliteLog, clock: Clock) -> None:
    await store(log, *["a"] * (STEP_ROWS * 2 + 1))
    nothing = replace(KEEP_ALL, max_count=0)
    left = []

    while await log.trim(nothing, now_us=clock.now_us):
        left.append(len(await positions(log, "a")))

    assert left == [STEP_ROWS + 1, 1]
    assert await positions(log, "a") == []


async def test_a_step_of_large_bodies_deletes_few(log: MemoryLog | SqliteLog, clock: Clock) -> None:
    await store(log, *["a"] * 4, body=bytes(5 << 20))

    assert await log.trim(replace(KEEP_ALL, max_bytes=0), now_us=clock.now_us)

    assert await positions(log, "a") == [3, 4]


async def test_a_few_unsafe_messages_among_many_safe_ones_are_found(
    scanning_log: MemoryLog | SqliteLog, clock: Clock
) -> None:
    log = scanning_log
    await store(log, *["a"] * 30, "/unsafe/a", *["a"] * 10, "/unsafe/a")

    await trim(log, replace(KEEP_ALL, max_unsafe_bytes=0), clock.now_us)

    assert await positions(log, "/unsafe/") == []
    assert len(await positions(log, "")) == 40


async def test_a_reader_behind_retention_goes_on_with_what_is_left(
    scanning_log: MemoryLog | SqliteLog, clock: Clock
) -> None:
    log = scanning_log
    await store(log, *["a"] * 50)
    await trim(log, replace(KEEP_ALL, max_count=2), clock.now_us)

    page = await read(log, "a")

    assert [message.position for message in page.messages] == [49, 50]
    assert await read(log, "a", after=49, newest=True) == Page([], 0)


async def test_retention_goes_on_where_it_stopped(log: MemoryLog | SqliteLog, clock: Clock) -> None:
    for _ in range(4):
        clock.now_us += DAY_US
        await store(log, "a")
        await trim(log, Retention(max_age_s=1.5 * 86400), clock.now_us)

    assert await positions(log, "a") == [3, 4]
    assert log.lost_up_to(TopicFilter(("a",))) == 2


async def test_a_log_that_works_can_be_written_to(log: MemoryLog | SqliteLog) -> None:
    await log.probe()

    assert log.head == 0
    assert await store(log, "a") == [1]


# Deletion


async def test_what_is_deleted_is_read_and_counted_no_more_and_leaves_no_gap(log: MemoryLog | SqliteLog) -> None:
    await store(log, "a", "/unsafe/a", "a", "b", "a")

    assert (await log.delete([1, 2, 5])).number == 3
    assert (await log.delete([1, 2, 5, 9])).number == 0

    assert await positions(log, "", "/unsafe/") == [3, 4]
    assert [message.position for message in (await read(log, "a", after=6, newest=True)).messages] == [3]
    assert (await behind(log, "a", after=0)).number == 1
    assert log.head == 5
    assert log.lost_up_to(EVERYTHING) == 0
    assert await store(log, "a") == [6]


async def test_a_deletion_is_told_by_positions(log: MemoryLog | SqliteLog) -> None:
    await store(log, "a", "a", "a")
    told: list[Collection[int] | None] = []
    log.follow_deletions(told.append)

    await log.delete([1, 3])

    # A hub of a family hears its own notification, too.
    assert {tuple(positions or ()) for positions in told} == {(1, 3)}


async def test_many_are_deleted_in_steps(log: MemoryLog | SqliteLog) -> None:
    await store(log, *["a", "/unsafe/a"] * STEP_ROWS)
    number = 0
    rest: Sequence[int] = range(1, 2 * STEP_ROWS)

    while rest:
        deletion = await log.delete(rest)
        assert 0 < len(rest) - len(deletion.rest) <= STEP_ROWS
        rest, number = deletion.rest, number + deletion.number

    assert number == 2 * STEP_ROWS - 1
    assert await positions(log, "", "/unsafe/") == [2 * STEP_ROWS]


async def test_a_repeat_of_what_is_deleted_is_a_duplicate_of_it(log: MemoryLog | SqliteLog) -> None:
    draft = Draft("a", once=(Once("idempotency", "a", "key"),))
    [first] = stored(await log.append([draft]))

    await log.delete([first.position])

    assert list(await log.append([draft])) == [Duplicate(first.id)]


@pytest.mark.parametrize("gone", [[1], [2, 3], [4], [1, 2, 3, 4]])
async def test_retention_goes_on_as_if_what_is_deleted_had_not_been_there(
    log: MemoryLog | SqliteLog, clock: Clock, gone: Sequence[int]
) -> None:
    await store(log, "a", "a", "a", "a")
    await log.delete(gone)
    left = [position for position in (1, 2, 3, 4) if position not in gone]

    await trim(log, replace(KEEP_ALL, max_count=2), clock.now_us)

    assert await positions(log, "a") == left[-2:]
    assert log.lost_up_to(TopicFilter(("a",))) == (left[-3] if len(left) > 2 else 0)

    clock.skip(days=8)
    await trim(log, Retention(), clock.now_us)

    assert await positions(log, "a") == []
    assert log.lost_up_to(TopicFilter(("a",))) == max(left, default=0)
    assert await store(log, "a") == [5]


async def test_the_size_of_what_is_deleted_is_free(log: MemoryLog | SqliteLog, clock: Clock) -> None:
    await store(log, "a", "a", "a", body=b"x" * 10_000)
    await log.delete([2])

    await trim(log, replace(KEEP_ALL, max_bytes=25_000), clock.now_us)

    assert await positions(log, "a") == [1, 3]


# Keys (their rules are in test_deduplication.py)


async def test_the_first_with_a_key_is_found_until_that_is_forgotten(log: MemoryLog | SqliteLog, clock: Clock) -> None:
    first, other = Once("idempotency", "a", "key"), Once("idempotency", "b", "key")
    [message] = stored(await log.append([Draft("a", once=(first,))]))

    assert (await log.find(first), await log.find(other)) == (message.id, None)
    await log.delete([message.position])
    assert await log.find(first) == message.id

    clock.now_us += 2 * DAY_US
    await trim(log, KEEP_ALL, clock.now_us)
    assert await log.find(first) is None


async def test_a_repeat_is_recognised_until_its_key_is_forgotten(log: MemoryLog | SqliteLog, clock: Clock) -> None:
    draft = Draft("a", once=(Once("idempotency", "a", "key"),))
    [first] = stored(await log.append([draft]))
    assert list(await log.append([draft])) == [Duplicate(first.id)]

    clock.skip(days=2)
    await trim(log, KEEP_ALL, clock.now_us)

    assert len(stored(await log.append([draft]))) == 1
