import re
import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from hookbot.log.engine import TopicHeads, new_epoch
from hookbot.log.memory import MemoryLog
from hookbot.log.retention import Retention
from hookbot.protocol.message import Draft, Message
from hookbot.protocol.topics import TopicFilter
from support.clock import Clock


def of(heads: TopicHeads, *patterns: str) -> int:
    return heads.of(TopicFilter(patterns))


def test_every_pattern_that_hears_a_message_knows_its_position() -> None:
    heads = TopicHeads(0)

    heads.add([("a/b/c", 1), ("/unsafe/a", 2)])

    assert [of(heads, pattern) for pattern in ("a/b/c", "a/b/", "a/", "", "/unsafe/a", "/unsafe/")] == [
        1,
        1,
        1,
        1,
        2,
        2,
    ]
    assert [of(heads, pattern) for pattern in ("a", "a/b", "b/", "/unsafe/a/")] == [0, 0, 0, 0]


def test_several_patterns_know_the_newest_of_them() -> None:
    heads = TopicHeads(0)

    heads.add([("a", 1), ("b", 2)])

    assert of(heads, "b", "a", "c") == 2


def test_a_topic_that_comes_again_does_not_hide_one_in_between() -> None:
    heads = TopicHeads(0)

    heads.add([("a", 1), ("b", 2), ("a", 3)])

    assert of(heads, "") == 3


def test_before_it_began_anything_may_have_been() -> None:
    assert of(TopicHeads(7), "a") == 7


def test_what_is_forgotten_is_not_newer_than_what_is_said() -> None:
    heads = TopicHeads(0, max_patterns=10)
    heads.add([("early", 1)])

    heads.add((f"t{position}", position) for position in range(2, 100))

    assert 1 <= of(heads, "early") < 99
    assert of(heads, "t99") == of(heads, "") == 99


def test_however_many_topics_there_are_few_are_remembered() -> None:
    heads = TopicHeads(0, max_patterns=10)

    heads.add((f"t{position}", position) for position in range(1, 10_000))

    assert len(heads._young) + len(heads._old) <= 2 * 10


def test_long_topics_take_no_more_memory_than_short_ones() -> None:
    heads = TopicHeads(0)

    tracemalloc.start()
    try:
        heads.add((f"{position}{'a' * 1000}", position) for position in range(1, 1001))
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert taken < 300_000


@given(topics=st.lists(st.integers(0, 40), max_size=200), batch=st.integers(1, 20))
def test_nothing_is_ever_newer_than_it_says(topics: list[int], batch: int) -> None:
    heads = TopicHeads(0, max_patterns=10)
    positions = [(f"t/{topic}", position) for position, topic in enumerate(topics, start=1)]

    for start in range(0, len(positions), batch):
        heads.add(positions[start : start + batch])

    for topic, position in positions:
        assert of(heads, topic) >= position


# What every engine does


async def test_positions_that_no_page_can_have_are_not_scanned(clock: Clock) -> None:
    log = MemoryLog(clock_us=clock)
    await log.append([Draft("a"), Draft("b"), Draft("/unsafe/a")])

    page = await log.read(TopicFilter(("a",)), after=0, limit=10, max_bytes=1000)
    backwards = await log.read(TopicFilter(("a",)), after=log.head + 1, limit=10, max_bytes=1000, newest=True)

    assert ([message.position for message in page.messages], page.next_after) == ([1], 3)
    assert ([message.position for message in backwards.messages], backwards.next_after) == ([1], 0)


async def test_one_call_scans_a_bounded_range(clock: Clock) -> None:
    log = MemoryLog(clock_us=clock, scan_length=2)
    await log.append([Draft("b"), Draft("b"), Draft("a"), Draft("b"), Draft("b"), Draft("a")])
    wanted = TopicFilter(("a",))

    forwards = await log.read(wanted, after=0, limit=10, max_bytes=1000)
    backwards = await log.read(wanted, after=6, limit=10, max_bytes=1000, newest=True)

    assert (list(forwards.messages), forwards.next_after) == ([], 2)
    assert (list(backwards.messages), backwards.next_after) == ([], 4)


async def test_each_partition_loses_its_own_messages(clock: Clock) -> None:
    log = MemoryLog(clock_us=clock)
    await log.append([Draft("a"), Draft("/unsafe/a"), Draft("/unsafe/a")])

    await log.trim(Retention(max_unsafe_bytes=0), now_us=clock.now_us)

    assert [log.lost_up_to(TopicFilter(patterns)) for patterns in (("a",), ("/unsafe/",), ("", "/unsafe/"), ())] == [
        0,
        3,
        3,
        0,
    ]
    assert await log.position_before(clock.now_us + 1) == 3
    assert await log.position_before(clock.now_us) == 0


async def test_times_never_decrease_even_if_the_clock_is_set_back(clock: Clock) -> None:
    log = MemoryLog(clock_us=clock)
    outcomes = list(await log.append([Draft("a")]))

    clock.skip(seconds=-60)
    outcomes += await log.append([Draft("/unsafe/a")])

    times = {outcome.time_us for outcome in outcomes if isinstance(outcome, Message)}
    assert times == {clock.now_us + 60_000_000}


def test_the_names_of_two_logs_differ() -> None:
    assert re.fullmatch("[a-z]{8}", new_epoch())
    assert new_epoch() != new_epoch()
