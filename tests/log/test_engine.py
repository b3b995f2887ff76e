from hypothesis import given
from hypothesis import strategies as st

from hookbot.log.engine import TopicHeads
from hookbot.protocol.topics import TopicFilter


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


@given(topics=st.lists(st.integers(0, 40), max_size=200), batch=st.integers(1, 20))
def test_nothing_is_ever_newer_than_it_says(topics: list[int], batch: int) -> None:
    heads = TopicHeads(0, max_patterns=10)
    positions = [(f"t/{topic}", position) for position, topic in enumerate(topics, start=1)]

    for start in range(0, len(positions), batch):
        heads.add(positions[start : start + batch])

    for topic, position in positions:
        assert of(heads, topic) >= position
