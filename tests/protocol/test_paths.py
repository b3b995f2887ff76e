"""Paths of a hub: the actions and topics that they name."""

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookbot.errors import InvalidTopic, MethodNotAllowed, NotFound, Refused
from hookbot.protocol.paths import (
    METHODS,
    Route,
    RouteAction,
    find_route,
    is_for_app,
    path_of,
    path_to,
    split_path,
    topic_meant,
    wanted_at,
)
from hookbot.protocol.topics import RESERVED, TopicFilter


@pytest.mark.parametrize(
    ("method", "path", "route"),
    [
        ("POST", b"/pub/foo/bar", Route("publish", "/pub/foo/bar", "foo/bar")),
        ("POST", b"/pub/", Route("publish", "/pub/", "")),
        ("POST", b"/pub/foo/", Route("publish", "/pub/foo/", "foo/")),
        ("POST", b"/pub/sub/x", Route("publish", "/pub/sub/x", "sub/x")),
        ("POST", b"/pub/pub/x", Route("publish", "/pub/pub/x", "pub/x")),
        ("POST", b"/unsafe/pub/foo", Route("publish", "/unsafe/pub/foo", "/unsafe/foo")),
        ("POST", b"/unsafe/pub/", Route("publish", "/unsafe/pub/", "/unsafe/")),
        ("POST", b"/foo/bar", Route("publish", "/foo/bar", "foo/bar")),
        ("POST", b"/public", Route("publish", "/public", "public")),
        ("POST", b"/%70ub/foo", Route("publish", "/pub/foo", "foo")),
        ("GET", b"/sub/foo", Route("subscribe", "/sub/foo", "foo")),
        ("GET", b"/sub/", Route("subscribe", "/sub/", "")),
        ("GET", b"/sub/foo%3Frecursive", Route("subscribe", "/sub/foo?recursive", "foo?recursive")),
        ("GET", b"/sub/unsafe/foo", Route("subscribe", "/sub/unsafe/foo", "unsafe/foo")),
        ("GET", b"/unsafe/sub/foo/", Route("subscribe", "/unsafe/sub/foo/", "/unsafe/foo/")),
        ("GET", b"/foo/", Route("subscribe", "/foo/", "foo/")),
        ("GET", b"/foo%3Frecursive", Route("subscribe", "/foo?recursive", "foo?recursive")),
    ],
)
def test_a_path_names_an_action_and_a_topic(method: str, path: bytes, route: Route) -> None:
    assert find_route(method, path) == route


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", b"/pub/foo", "POST"),
        ("PUT", b"/pub/foo", "POST"),
        ("POST", b"/sub/foo", "GET"),
        ("HEAD", b"/sub/foo", "GET"),
        ("GET", b"/unsafe/pub/foo", "POST"),
        ("POST", b"/unsafe/sub/foo", "GET"),
        ("DELETE", b"/foo", "POST, GET"),
        ("get", b"/foo", "POST, GET"),
    ],
)
def test_a_path_says_which_methods_are_allowed(method: str, path: bytes, allow: str) -> None:
    with pytest.raises(MethodNotAllowed) as caught:
        find_route(method, path)
    assert caught.value.allow == allow


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    "path",
    ["/", "/unsafe/foo", *(f"/{name}" for name in sorted(RESERVED)), *(f"/{name}/x" for name in ("status", "hookbot"))],
)
def test_reserved_paths_are_not_topics(method: str, path: str) -> None:
    with pytest.raises(NotFound):
        find_route(method, path.encode())


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    "path", [b"", b"*", b"//", b"/x//y", b"/pub/x//y", b"/sub/../x", b"/%2Fx", b"/unsafe/pub//x", b"/unsafe/sub//x"]
)
def test_what_is_no_path_is_refused(method: str, path: bytes) -> None:
    with pytest.raises(InvalidTopic):
        find_route(method, path)


@pytest.mark.parametrize(("method", "prefix"), [("POST", b"/pub/"), ("GET", b"/sub/"), ("POST", b"/"), ("GET", b"/")])
def test_a_topic_that_is_too_long_is_refused_and_so_never_cached(method: str, prefix: bytes) -> None:
    with pytest.raises(InvalidTopic, match="1024 bytes"):
        find_route(method, prefix + b"x" * 1025)


def test_only_a_subscription_may_be_recursive() -> None:
    with pytest.raises(InvalidTopic):
        find_route("POST", b"/pub/foo%3Frecursive")


@given(st.sampled_from(["GET", "POST", "PUT"]), st.binary(max_size=3000))
def test_a_refusal_is_one_short_sentence(method: str, path: bytes) -> None:
    refusal = ""
    try:
        find_route(method, b"/" + path)
    except Refused as error:
        refusal = str(error)
    assert len(refusal) < 600


@pytest.mark.parametrize("path", [b"/", b"/status", b"/hookbot/v1/cursors", b"/readyz", b"//pub/x", b"/%70ub/foo"])
def test_the_fast_path_hands_over_what_only_the_app_serves(path: bytes) -> None:
    assert is_for_app(path)


@pytest.mark.parametrize("path", [b"/pub/x", b"/sub/x", b"/unsafe/pub/x", b"/foo", b"/statusbar", b"/pub/status"])
def test_the_fast_path_serves_the_rest_itself(path: bytes) -> None:
    assert not is_for_app(path)


TOPICS = ["foo", "foo/bar", "foo/", "", "pub/x", "unsafe/x", "é a", "status", "/unsafe/", "/unsafe/foo", "/unsafe/sub/"]


@pytest.mark.parametrize("topic", TOPICS)
@pytest.mark.parametrize("action", ["publish", "subscribe"])
def test_the_path_to_a_topic_leads_there(action: RouteAction, topic: str) -> None:
    path = path_to(action, topic)

    assert split_path(path) == (action, topic)
    assert find_route(METHODS[action], quote(path).encode()) == Route(action, path, topic)


@pytest.mark.parametrize(("path", "topic"), [("/foo/bar", "foo/bar"), ("/", ""), ("/public", "public")])
def test_a_path_without_an_action_is_a_topic(path: str, topic: str) -> None:
    assert split_path(path) == (None, topic)


@pytest.mark.parametrize("text", [*TOPICS, "foo?recursive", "foo/?recursive", "/unsafe/foo?recursive"])
def test_the_path_of_a_filter_leads_back_to_it(text: str) -> None:
    wanted = TopicFilter.parse(text)

    assert wanted_at(path_of(wanted)) == wanted


@pytest.mark.parametrize("path", ["/pub/foo", "/status", "/sub/a//b", "", "/"])
def test_nothing_is_subscribed_to_where_no_subscription_is_possible(path: str) -> None:
    with pytest.raises(Refused):
        wanted_at(path)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("", ""),
        ("x/y", "x/y"),
        ("x/", "x/"),
        ("/x/", "x/"),
        ("pub/x", "x"),
        ("/sub/x", "x"),
        ("x/pub/y", "x/pub/y"),
        ("/unsafe/x/", "/unsafe/x/"),
        ("/unsafe/", "/unsafe/"),
        ("/unsafe", "/unsafe/"),
        ("unsafe/x/", "/unsafe/x/"),
        ("//unsafe/x", "/unsafe/x"),
        (" /unsafe/pub/x ", "/unsafe/x"),
        ("unsafe/sub/x", "/unsafe/x"),
        ("https://TOKEN@hub.example.com:8080/unsafe/pub/x/?a=b", "/unsafe/x/"),
        ("wss://hub.example.com/sub/x", "x"),
        ("hub.example.com/unsafe/pub/x", "/unsafe/x"),
        ("localhost:8080/unsafe/pub/x", "/unsafe/x"),
        ("/unsafe/a%20b%2Fc", "/unsafe/a b/c"),
        ("/unsafe/gr%C3%B6%C3%9Fe", "/unsafe/größe"),
        ("100%", "100%"),
        ("/unsafe/x?a=b", "/unsafe/x"),
        ("/unsafe/x#a", "/unsafe/x"),
        ("unsafe/x/*", "/unsafe/x/"),
        ("x/**", "x/"),
        ("x/+", "x/"),
        ("x/#", "x/"),
        ("a*b", "a*b"),
        ('"x"', "x"),
        ("\ufeff/unsafe/x\xa0", "/unsafe/x"),
        ("/unsafe/x\u200b/", "/unsafe/x/"),
        ("a\xa0b/%E2%80%8Bc\0", "a b/c"),
    ],
)
def test_a_topic_is_meant_by_its_path_and_by_its_url(text: str, meant: str) -> None:
    assert topic_meant(text) == meant
