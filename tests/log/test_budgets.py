"""Which budget a topic has, what becomes of partitions when there are others, and what each engine makes of them."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookbot.log.budgets import ROOTS, Budgets, Partitions
from hookbot.log.contract import Log
from hookbot.log.retention import Budget, Deleted, Partition, Retention
from hookbot.protocol.message import Draft, Message, Once
from hookbot.protocol.topics import EVERYTHING, TopicFilter
from support.clock import Clock

NAMES = st.lists(st.sampled_from(["a", "b"]), min_size=1, max_size=4).map("/".join)
TOPICS = st.builds("".join, st.tuples(st.sampled_from(["", "/unsafe/"]), NAMES, st.sampled_from(["", "/"])))
PREFIXES = st.lists(TOPICS, max_size=5).map(lambda these: {*ROOTS, *these})
FILTERS = st.lists(TOPICS | st.sampled_from(ROOTS), min_size=1, max_size=2).map(lambda these: TopicFilter((*these,)))


@pytest.mark.parametrize(
    ("topic", "prefix"),
    [
        ("a", ""),
        ("", ""),
        ("logs", ""),
        ("logs/", "logs/"),
        ("logs/x", "logs/"),
        ("logs/one", "logs/one"),
        ("logs/one/x", "logs/"),
        ("logs/deep/x", "logs/deep/"),
        ("/unsafe/logs/x", "/unsafe/"),
        ("/unsafe/x/y", "/unsafe/x/"),
        ("/unsafe/x", "/unsafe/"),
        ("x/y", ""),
    ],
)
def test_a_topic_has_the_budget_of_the_longest_prefix(topic: str, prefix: str) -> None:
    assert Budgets([*ROOTS, "logs/", "logs/one", "logs/deep/", "/unsafe/x/"]).of(topic) == prefix


@given(prefixes=PREFIXES, wanted=FILTERS, topic=TOPICS)
def test_a_filter_touches_the_budget_of_each_topic_that_it_selects(
    prefixes: set[str], wanted: TopicFilter, topic: str
) -> None:
    budgets = Budgets(prefixes)

    assert not wanted.matches(topic) or budgets.of(topic) in budgets.touched_by(wanted)


@given(prefixes=PREFIXES, topic=TOPICS)
def test_what_a_budget_has_is_what_its_prefix_matches_without_what_others_have(prefixes: set[str], topic: str) -> None:
    budgets = Budgets(prefixes)

    having = [p for p in prefixes if TopicFilter((p,)).matches(topic) and not budgets.others_in(p).matches(topic)]

    assert having == [budgets.of(topic)]


def test_a_filter_touches_no_budget_beside_it() -> None:
    budgets = Budgets([*ROOTS, "a/", "b/", "/unsafe/a/"])

    assert budgets.touched_by(TopicFilter(("a/x",))) == {"a/"}
    assert budgets.touched_by(TopicFilter(("a",))) == {""}
    assert budgets.touched_by(TopicFilter(("",))) == {"", "a/", "b/"}
    assert budgets.touched_by(TopicFilter(("/unsafe/",))) == {"/unsafe/", "/unsafe/a/"}


@given(
    before=PREFIXES,
    after=PREFIXES,
    rows=st.lists(st.tuples(TOPICS, st.booleans()), max_size=20),
)
def test_no_deletion_is_forgotten_and_no_message_is_passed_with_other_budgets(
    before: set[str], after: set[str], rows: Sequence[tuple[str, bool]]
) -> None:
    partitions = Partitions.empty(before)
    kept: list[tuple[str, int]] = []
    for position, (topic, is_deleted) in enumerate(rows, start=1):
        prefix = partitions.budgets.of(topic)
        # Retention deletes the oldest first.
        if is_deleted and prefix not in [partitions.budgets.of(other) for other, _ in kept]:
            # What somebody has deleted before is passed, but not lost.
            lost = Partition(len(rows), lost=position - 1, passed=position)
            partitions = partitions.updated({prefix: lost})
        else:
            kept.append((topic, position))

    regrouped = partitions.regrouped(after)

    assert regrouped.by_prefix.keys() == after
    for topic, position in kept:
        assert regrouped.containing(topic).passed < position
    for topic, _ in rows:
        assert regrouped.containing(topic).lost >= partitions.containing(topic).lost
    assert regrouped.dense >= partitions.dense


def test_what_was_read_before_what_is_known_loses_nothing() -> None:
    known = Partitions.empty().losing({"": Deleted(5, 50, 6), "/unsafe/": Deleted(1, 10, 1)})

    late = known.losing({"": Deleted(3, 30, 3), "/unsafe/": Deleted(2, 20, 4)})

    assert late.deleted == {"": Deleted(5, 50, 6), "/unsafe/": Deleted(2, 20, 4)}


def test_other_budgets_may_be_learnt_late() -> None:
    known = Partitions.empty([*ROOTS, "a/"]).losing(
        {"": Deleted(5, 50, 6), "/unsafe/": Deleted(), "a/": Deleted(9, 90, 9)}
    )

    late = known.losing({"": Deleted(3, 30, 4), "/unsafe/": Deleted()})

    assert late.deleted == {"": Deleted(9, 90, 6), "/unsafe/": Deleted()}


# Logs


KEEP_ALL = Retention(max_age_s=None, max_bytes=None, max_unsafe_bytes=None)


@pytest.fixture
async def log(open_log: Callable[..., AbstractAsyncContextManager[Log]]) -> AsyncIterator[Log]:
    """A log that counts and scans three positions at once."""
    async with open_log(scan_length=3) as log:
        yield log


def keeping(*, logs: int) -> Retention:
    """Retention of so many messages beneath `logs/`, and of all others."""
    return replace(KEEP_ALL, sections=(Budget("logs/", None, None, logs),))


async def store(log: Log, *topics: str) -> None:
    for topic in topics:
        await log.append([Draft(topic, once=(Once("idempotency", topic, "k", exclusive=False),))])


async def trim(log: Log, retention: Retention, now_us: int) -> None:
    while await log.trim(retention, now_us=now_us):
        pass


async def left(log: Log, *patterns: str) -> list[str]:
    wanted, after, topics = TopicFilter(patterns) if patterns else EVERYTHING, 0, []
    while after < log.head:
        page = await log.read(wanted, after=after, limit=100, max_bytes=1 << 20)
        topics += [message.topic for message in page.messages]
        after = page.next_after
    return topics


def lost(log: Log, *patterns: str) -> tuple[int, int]:
    return log.lost_up_to(TopicFilter(patterns)), log.gone_up_to(TopicFilter(patterns))


async def test_each_budget_keeps_its_own_messages(log: Log, clock: Clock) -> None:
    await store(log, "a", "logs/1", "logs/2", "logs/deep/3", "logs/deep/4", "b", "logs/5", "/unsafe/logs/x")
    retention = replace(
        KEEP_ALL,
        sections=(Budget("logs/", None, None, 1), Budget("logs/deep/", None, 0, None), Budget("b", 1, None, 9)),
    )

    await trim(log, retention, clock.now_us)
    assert await left(log) == ["a", "b", "logs/5", "/unsafe/logs/x"]
    clock.now_us += 2_000_000
    await trim(log, retention, clock.now_us)

    assert await left(log) == ["a", "logs/5", "/unsafe/logs/x"]
    assert await left(log, "logs/") == ["logs/5"]
    assert lost(log, "a") == (0, 0)
    assert lost(log, "logs/")[0] == 5
    assert lost(log, "logs/1")[0] == 3
    assert lost(log, "logs/deep/3")[0] == 5
    assert lost(log, "") == (6, 0)
    assert lost(log, "b")[0] == 6
    assert lost(log, "/unsafe/") == (0, 0)


async def test_a_new_budget_takes_over_what_is_there_and_a_removed_one_gives_it_back(log: Log, clock: Clock) -> None:
    await store(log, *["a", "logs/1"] * 5)
    await trim(log, replace(KEEP_ALL, max_count=8), clock.now_us)
    assert lost(log, "logs/") == lost(log, "") == (2, 2)

    await trim(log, keeping(logs=2), clock.now_us)
    assert await left(log) == ["a", "a", "a", "logs/1", "a", "logs/1"]
    assert lost(log, "logs/")[0] == 6
    assert lost(log, "a") == (2, 2)
    await store(log, "logs/2", "b")
    await trim(log, keeping(logs=2), clock.now_us)
    assert await left(log) == ["a", "a", "a", "a", "logs/1", "logs/2", "b"]

    await trim(log, KEEP_ALL, clock.now_us)
    assert lost(log, "a") == lost(log, "logs/1") == (8, 2)
    assert await left(log) == ["a", "a", "a", "a", "logs/1", "logs/2", "b"]
    await trim(log, replace(KEEP_ALL, max_count=6), clock.now_us)
    assert await left(log) == ["a", "a", "a", "logs/1", "logs/2", "b"]
    assert lost(log, "a")[0] == 8


async def test_messages_that_are_stored_while_others_are_counted_are_counted_once(log: Log, clock: Clock) -> None:
    await store(log, *["a", "logs/1"] * 5)

    for _ in range(5):
        await log.trim(keeping(logs=3), now_us=clock.now_us)
        await store(log, "logs/2", "b")
    await trim(log, keeping(logs=3), clock.now_us)

    assert [topic for topic in await left(log) if topic.startswith("logs/")] == ["logs/2"] * 3
    assert (await left(log)).count("a") == 5


async def test_keys_of_untrusted_clients_go_with_their_messages_and_no_others(log: Log, clock: Clock) -> None:
    await store(log, "/unsafe/a/x", "/unsafe/b")
    await trim(log, replace(KEEP_ALL, sections=(Budget("/unsafe/a/", None, None, 0),)), clock.now_us)

    outcomes = [
        await log.append([Draft(topic, once=(Once("idempotency", topic, "k"),))])
        for topic in ("/unsafe/a/x", "/unsafe/b")
    ]

    assert [isinstance(outcome, Message) for [outcome] in outcomes] == [True, False]


async def test_budgets_are_there_when_the_log_is_opened_again(
    open_log: Callable[..., AbstractAsyncContextManager[Log]], clock: Clock
) -> None:
    async with open_log() as log:
        await store(log, *["a", "logs/1"] * 5)
        await trim(log, keeping(logs=2), clock.now_us)
        before = lost(log, "logs/"), lost(log, "a")
        if type(log).__name__ == "MemoryLog":
            return

    async with open_log() as log:
        assert (lost(log, "logs/"), lost(log, "a")) == before
        await store(log, "logs/3")
        await trim(log, keeping(logs=2), clock.now_us)
        assert [topic for topic in await left(log) if topic != "a"] == ["logs/1", "logs/3"]
