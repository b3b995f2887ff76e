"""Paths and topics: valid ones, and the subscriptions that match them."""

from typing import Any
from urllib.parse import quote, unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hookbot.errors import InvalidTopic
from hookbot.protocol.topics import (
    MAX_TOPIC_BYTES,
    RECURSIVE,
    UNSAFE,
    TopicFilter,
    check_topic,
    decode_path,
    is_own,
    is_subtree,
    is_unsafe,
    patterns_of,
)

SEGMENTS = st.text(st.sampled_from("ab.é ?%"), min_size=1, max_size=3).filter(
    lambda segment: segment not in (".", "..")
)
SAFE = st.lists(SEGMENTS, max_size=4).map("/".join)
TOPICS = st.builds(
    lambda unsafe, name, slash: unsafe + name + ("/" if slash and name else ""),
    st.sampled_from(["", UNSAFE]),
    SAFE,
    st.booleans(),
).filter(lambda topic: not topic.endswith(RECURSIVE))
PATTERNS = st.one_of(TOPICS, TOPICS.map(lambda topic: topic.rstrip("/") + "/" if topic not in ("", UNSAFE) else topic))


def hears(pattern: str, topic: str) -> bool:
    """True if a pattern matches a topic, by the table of the protocol."""
    if is_unsafe(pattern) != is_unsafe(topic):
        return False
    return pattern == topic or (is_subtree(pattern) and topic.startswith(pattern))


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        (b"/", "/"),
        (b"/pub/", "/pub/"),
        (b"/pub/foo/bar", "/pub/foo/bar"),
        (b"/pub/foo/", "/pub/foo/"),
        (b"/pub/a%20b", "/pub/a b"),
        (b"/pub/%C3%A9t%c3%a9", "/pub/été"),
        ("/pub/été".encode(), "/pub/été"),
        (b"/pub/100%25", "/pub/100%"),
        (b"/pub/%252F", "/pub/%2F"),
        (b"/pub/a+b;c=d", "/pub/a+b;c=d"),
        (b"/pub/...", "/pub/..."),
        (b"/pub/.git", "/pub/.git"),
        (b"/sub/foo%3Frecursive", "/sub/foo?recursive"),
        (b"/%70ub/foo", "/pub/foo"),
    ],
)
def test_a_path_is_decoded_once(raw: bytes, path: str) -> None:
    assert decode_path(raw) == path


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"*",
        b"pub/foo",
        b"%2Fpub/foo",
        b"//pub/a",
        b"/pub//a",
        b"/pub/a//b",
        b"/pub/a//",
        b"/pub/.",
        b"/pub/./a",
        b"/pub/..",
        b"/pub/../a",
        b"/pub/%2e%2E/a",
        b"/pub/a%2Fb",
        b"/pub/a%2fb",
        b"/pub/a%00",
        b"/pub/\x00",
        b"/pub/a%0a",
        b"/pub/a%1F",
        b"/pub/a%7F",
        b"/pub/a%C2%85b",
        b"/pub/%FF",
        b"/pub/\xff",
        b"/pub/%C0%AF",
        b"/pub/%ED%A0%80",
        b"/pub/100%",
        b"/pub/%g0",
        b"/pub/%1",
    ],
)
def test_what_is_not_a_path_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidTopic):
        decode_path(raw)


@given(st.text(min_size=1).map(lambda text: quote("/" + text, safe="/:@!$&'()*+,;=~")))
@example("/a%2Bb")
@example("/%F4%8F%BF%BF")
def test_what_is_accepted_is_decoded_as_the_standard_library_does(target: str) -> None:
    try:
        path = decode_path(target.encode())
    except InvalidTopic:
        return
    assert path == unquote(target, errors="strict")


@given(st.binary(max_size=60).map(lambda raw: b"/" + raw))
def test_whatever_is_sent_is_a_path_or_refused(raw: bytes) -> None:
    try:
        path = decode_path(raw)
    except InvalidTopic:
        return
    assert path.startswith("/")
    assert not any(ord(char) < 32 for char in path)
    assert not {"", ".", ".."}.intersection(path[1:].removesuffix("/").split("/")) or path == "/"


@given(st.lists(SEGMENTS, min_size=1, max_size=4))
def test_every_topic_can_be_spelled_as_a_path(segments: list[str]) -> None:
    path = "/" + "/".join(segments)
    assert decode_path(quote(path).encode()) == path


@pytest.mark.parametrize("topic", ["", "foo", "foo/", "foo/bar", UNSAFE, f"{UNSAFE}foo", f"{UNSAFE}foo/", "?", "été"])
def test_a_topic_can_be_published_to(topic: str) -> None:
    assert check_topic(topic) == topic


@pytest.mark.parametrize(
    "topic",
    [
        "/",
        "/foo",
        "foo//",
        "foo//bar",
        "..",
        "foo/./bar",
        "foo\nbar",
        "/unsafe",
        "/unsafe//foo",
        "foo?recursive",
        "foo/\x85",
        "half a pair \ud83d",
    ],
)
def test_what_is_not_a_topic_is_refused(topic: str) -> None:
    with pytest.raises(InvalidTopic):
        check_topic(topic)


def test_a_topic_is_measured_in_bytes() -> None:
    assert check_topic("é" * (MAX_TOPIC_BYTES // 2))
    with pytest.raises(InvalidTopic):
        check_topic("é" * (MAX_TOPIC_BYTES // 2) + "e")


def test_a_topic_is_measured_before_it_is_divided() -> None:
    with pytest.raises(InvalidTopic, match="longer than"):
        check_topic("a//" * MAX_TOPIC_BYTES)


def test_a_refusal_shows_what_was_wrong_and_is_short() -> None:
    with pytest.raises(InvalidTopic, match="'foo//bar'"):
        check_topic("foo//bar")
    with pytest.raises(InvalidTopic) as caught:
        decode_path(b"/" + b"x" * 100_000 + b"//")
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("topic", "own"),
    [("hookbot/routers", True), ("/unsafe/hookbot/x", True), ("hookbot", False), ("my/hookbot/x", False)],
)
def test_what_lies_beneath_hookbot_is_the_hubs_own(topic: str, own: bool) -> None:
    assert is_own(topic) == own


@pytest.mark.parametrize(
    ("text", "patterns"),
    [
        ("", ("",)),
        ("foo", ("foo",)),
        ("foo/", ("foo/",)),
        ("foo?recursive", ("foo", "foo/")),
        ("foo/?recursive", ("foo/",)),
        ("?recursive", ("",)),
        ("/unsafe/", ("/unsafe/",)),
        ("/unsafe/foo?recursive", ("/unsafe/foo", "/unsafe/foo/")),
        ("/unsafe/?recursive", ("/unsafe/",)),
    ],
)
def test_a_subscription_is_read_into_patterns(text: str, patterns: tuple[Any, ...]) -> None:
    assert TopicFilter.parse(text).patterns == patterns


@pytest.mark.parametrize("text", ["foo//", "foo//?recursive", "..", "foo?recursive?recursive", "x" * 1025])
def test_a_subscription_to_what_is_not_a_topic_is_refused(text: str) -> None:
    with pytest.raises(InvalidTopic):
        TopicFilter.parse(text)


@pytest.mark.parametrize(
    ("text", "subtree", "unsafe"),
    [
        ("", True, False),
        ("foo", False, False),
        ("foo/", True, False),
        ("foo?recursive", True, False),
        ("/unsafe/", True, True),
        ("/unsafe/foo", False, True),
        ("/unsafe/foo?recursive", True, True),
    ],
)
def test_a_filter_knows_its_kind(text: str, subtree: bool, unsafe: bool) -> None:
    wanted = TopicFilter.parse(text)
    assert (wanted.subtree, wanted.unsafe) == (subtree, unsafe)


@pytest.mark.parametrize(
    ("text", "topic", "heard"),
    [
        ("foo/", "foo/bar", True),
        ("foo/", "foo/bar/baz", True),
        ("foo/", "foo", False),
        ("foo/", "foobar", False),
        ("foo", "foo/", False),
        ("foo/", "foo/", True),
        ("foo?recursive", "foo", True),
        ("foo?recursive", "foobar", False),
        ("", "anything/at/all", True),
        ("", "", True),
        ("", "/unsafe/foo", False),
        ("", "/unsafe/", False),
        ("/unsafe/", "/unsafe/foo", True),
        ("/unsafe/", "/unsafe/", True),
        ("/unsafe/", "foo", False),
        ("/unsafe/", "unsafe/foo", False),
    ],
)
def test_a_subscription_hears_its_topics(text: str, topic: str, heard: bool) -> None:
    assert TopicFilter.parse(text).matches(topic) == heard


@given(st.lists(PATTERNS, min_size=1, max_size=3, unique=True), TOPICS)
def test_a_filter_hears_what_any_of_its_patterns_hears(patterns: list[str], topic: str) -> None:
    assert TopicFilter(tuple(patterns)).matches(topic) == any(hears(pattern, topic) for pattern in patterns)


@given(TOPICS, st.lists(PATTERNS))
def test_the_patterns_of_a_topic_are_all_that_hear_it(topic: str, others: list[str]) -> None:
    patterns = list(patterns_of(topic))

    assert len(patterns) == len(set(patterns))
    assert all(hears(pattern, topic) for pattern in patterns)
    assert [other for other in others if hears(other, topic) and other not in patterns] == []


@given(SAFE)
def test_no_safe_topic_is_heard_as_an_unsafe_one_or_the_other_way_round(name: str) -> None:
    assert not any(is_unsafe(pattern) for pattern in patterns_of(name))
    assert all(is_unsafe(pattern) for pattern in patterns_of(UNSAFE + name))


@pytest.mark.parametrize(
    ("text", "shown"), [("a/b", "a/b"), ("a?recursive", "a, a/"), ("", "all topics"), ("/unsafe/", "/unsafe/")]
)
def test_a_filter_is_shown_in_the_log_as_its_topics(text: str, shown: str) -> None:
    assert str(TopicFilter.parse(text)) == shown


@pytest.mark.parametrize(
    ("one", "other", "overlap"),
    [
        ("a", "a", True),
        ("a/", "a/b", True),
        ("a/", "a/b/", True),
        ("", "a", True),
        ("/unsafe/", "/unsafe/x", True),
        ("a", "b", False),
        ("a/", "a", False),
        ("a/b", "a/c", False),
        ("", "/unsafe/x", False),
    ],
)
def test_two_filters_overlap_if_a_topic_can_match_both(one: str, other: str, overlap: bool) -> None:
    first, second = TopicFilter((one,)), TopicFilter((other,))
    assert first.overlaps(second) is second.overlaps(first) is overlap
