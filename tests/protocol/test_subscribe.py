"""Subscribe requests, as the query and the headers describe them."""

import re

import pytest

from hookbot.errors import Refused, UpgradeRequired
from hookbot.protocol.message import format_id
from hookbot.protocol.paths import find_route
from hookbot.protocol.request import Request
from hookbot.protocol.since import ACCEPTED, AfterId, FromOldest, SinceTime
from hookbot.protocol.subscribe import SubscribeRequest, offered_subprotocols
from hookbot.protocol.topics import TopicFilter

NOW_US = 1_700_000_000_000_000
ID = format_id("abcdefgh", 12)
V1 = {"Sec-WebSocket-Protocol": "hookbot.v1"}
LINES = {"Accept": "application/x-ndjson"}


def read(
    query: str = "", headers: tuple[()] | dict[str, str] = (), *, path: str = "/sub/foo", websocket: bool = True
) -> SubscribeRequest:
    request = Request("GET", f"{path}?{query}".encode(), tuple(dict(headers).items()))
    return SubscribeRequest.read(request, find_route("GET", request.raw_path), websocket=websocket, now_us=NOW_US)


def test_a_plain_websocket_hears_raw_frames_from_now_on() -> None:
    assert read() == SubscribeRequest(TopicFilter(("foo",)), path="/sub/foo", topic="foo", format="raw")


def test_what_is_heard_comes_from_the_path() -> None:
    assert read(path="/foo/").wanted == TopicFilter(("foo/",))
    assert read(path="/sub/foo%3Frecursive").wanted == TopicFilter(("foo", "foo/"))
    assert read(path="/unsafe/sub/foo").wanted == TopicFilter(("/unsafe/foo",))


@pytest.mark.parametrize(
    ("offers", "format", "subprotocol"),
    [
        ("hookbot.raw", "raw", "hookbot.raw"),
        ("hookbot.v1", "v1", "hookbot.v1"),
        ("cloudevents.json", "cloudevents", "cloudevents.json"),
        ("hookbot.token.abc, hookbot.v1", "v1", "hookbot.v1"),
        ("hookbot.v9, cloudevents.json , hookbot.v1", "cloudevents", "cloudevents.json"),
        ("hookbot.token.abc", "raw", None),
        ("something.else", "raw", None),
        ("", "raw", None),
    ],
)
def test_a_websocket_gets_the_first_subprotocol_that_is_known(
    offers: str, format: str, subprotocol: str | None
) -> None:
    listening = read(headers={"Sec-WebSocket-Protocol": offers})
    assert (listening.format, listening.subprotocol) == (format, subprotocol)


def test_offers_may_be_spread_over_headers() -> None:
    request = Request("GET", b"/", (("Sec-WebSocket-Protocol", "a,b"), ("sec-websocket-protocol", " c ,")))
    assert offered_subprotocols(request) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("accept", "query", "format"),
    [
        ("text/event-stream", "", "sse"),
        ("text/event-stream", "since=all&follow=0", "sse"),
        ("text/html, Text/Event-Stream;q=0.5", "", "sse"),
        ("application/x-ndjson", "", "jsonl"),
        ("application/json", "", "jsonl"),
        ("*/*", "since=all", "jsonl"),
        ("*/*", "limit=1", "jsonl"),
        ("text/html", "follow=0", "jsonl"),
        ("", "follow=1", "jsonl"),
        ("*/*", "wait=30s", "jsonl"),
    ],
)
def test_a_stream_is_asked_for_by_accept_or_by_history(accept: str, query: str, format: str) -> None:
    assert read(query, {"Accept": accept}, websocket=False).format == format


@pytest.mark.parametrize("headers", [{}, {"Accept": "*/*"}, {"Accept": "text/html"}, V1])
def test_a_plain_page_is_told_to_upgrade(headers: dict[str, str]) -> None:
    with pytest.raises(UpgradeRequired):
        read(headers=headers, websocket=False)


@pytest.mark.parametrize(
    ("query", "headers", "since"),
    [
        ("", {}, None),
        ("since=all", {}, FromOldest()),
        ("since=10m", {}, SinceTime(NOW_US - 600_000_000)),
        (f"since={ID}", {}, AfterId("abcdefgh", 12)),
        ("since=1970-01-01T01:00:00%2B01:00", {}, SinceTime(0)),
        ("since=1970-01-01T01:00:00+01:00", {}, SinceTime(0)),
        ("", {"Last-Event-ID": ID}, AfterId("abcdefgh", 12)),
        ("since=all", {"Last-Event-ID": ID}, AfterId("abcdefgh", 12)),
        ("since=all", {"Last-Event-ID": ""}, FromOldest()),
        ("follow=0", {}, FromOldest()),
        ("follow=0&since=0s", {}, SinceTime(NOW_US)),
        ("follow=1", {}, None),
    ],
)
def test_a_start_is_since_and_a_browsers_last_event_id_wins(
    query: str, headers: dict[str, str], since: FromOldest | SinceTime | AfterId | None
) -> None:
    assert read(query, headers).since == since


def test_a_new_cursor_starts_now_even_if_it_does_not_follow() -> None:
    assert read("follow=0&cursor=c", V1).since is None


@pytest.mark.parametrize(("query", "headers"), [("since=", {}), ("since=yesterday", {}), ("", {"Last-Event-ID": "17"})])
def test_any_other_start_is_refused_with_the_accepted_forms(query: str, headers: dict[str, str]) -> None:
    with pytest.raises(Refused, match=re.escape(ACCEPTED)):
        read(query, headers)


def test_an_end_and_a_direction_can_be_asked_for() -> None:
    listening = read("follow=0&limit=5&order=newest")
    assert (listening.follow, listening.limit, listening.newest) == (False, 5, True)
    assert read("follow=1&order=oldest") == read()


def test_a_poll_waits_for_what_is_new_also_behind_what_is_stored() -> None:
    polls = [read(query, {}, websocket=False) for query in ("wait=1s", "wait=1m&follow=0", "wait=30s&since=all")]
    assert [(poll.wait_s, poll.follow, poll.since) for poll in polls] == [
        (1, True, None),
        (60, True, FromOldest()),
        (30, True, FromOldest()),
    ]


@pytest.mark.parametrize(
    ("query", "headers", "websocket", "why"),
    [
        ("wait=30s&follow=1", LINES, False, "never ends"),
        ("wait=30s", {"Accept": "text/event-stream"}, False, "wait needs JSON lines"),
        ("wait=30s", V1, True, "wait needs JSON lines"),
        ("wait=30s", {}, True, "wait needs JSON lines"),
        ("wait=30s&cursor=c", LINES, False, "hookbot.v1"),
        ("wait=30s&cursor=c", V1, True, "wait needs JSON lines"),
        ("wait=30s&group=g", V1, True, "wait needs JSON lines"),
        ("wait=30s&order=newest&follow=0", LINES, False, "without wait"),
        ("wait=0s", LINES, False, "from 1s to 60s"),
        ("wait=61s", LINES, False, "from 1s to 60s"),
        ("wait=30", LINES, False, "from 1s to 60s"),
        ("wait=", LINES, False, "from 1s to 60s"),
    ],
)
def test_only_what_ends_and_acknowledges_nothing_can_wait(
    query: str, headers: dict[str, str], websocket: bool, why: str
) -> None:
    with pytest.raises(Refused, match=re.escape(why)):
        read(query, headers, websocket=websocket)


def test_a_cursor_or_a_group_has_a_name() -> None:
    cursor = read("cursor=deploy&takeover=1&max_unacked=10", V1)
    group = read("group=workers&key=topic&ack_timeout=5m", V1)
    assert (cursor.cursor, cursor.takeover, cursor.max_unacked) == ("deploy", True, 10)
    assert (group.group, group.by_topic, group.ack_timeout_s) == ("workers", True, 300)


@pytest.mark.parametrize(
    ("query", "headers", "needs_app"),
    [
        ("", V1, False),
        ("since=all", {}, False),
        ("limit=1", {}, True),
        ("follow=0", {}, True),
        ("cursor=c", V1, True),
        ("group=g", V1, True),
        ("reply", V1, True),
        ("reply=0", V1, False),
    ],
)
def test_who_keeps_accounts_needs_the_app(query: str, headers: dict[str, str], needs_app: bool) -> None:
    assert read(query, headers).needs_app == needs_app


@pytest.mark.parametrize(
    "query",
    [
        "follow=yes",
        "follow=",
        "order=random",
        "order=newest",
        "order=newest&follow=1",
        "limit=0",
        "limit=-1",
        "limit=1.5",
        "limit=",
        "limit=%D9%A3",
        "limit=10000000000",
        "limit=1&limit=2",
        f"limit=000000000001{'9' * 5000}",
        "takeover=yes",
        "key=body",
        "cursor=",
        "cursor=a%20b",
        "cursor=a/b",
        f"cursor={'x' * 129}",
        "group=",
        "group=%00",
        "cursor=a&group=b",
        "cursor=a&order=newest&follow=0",
        "group=a&follow=0",
        "max_unacked=0",
        "max_unacked=1001",
        "ack_timeout=0s",
        "ack_timeout=13h",
        "ack_timeout=60",
        "since=now",
        "reply=yes",
    ],
)
def test_nonsense_is_refused_in_one_sentence(query: str) -> None:
    with pytest.raises(Refused) as caught:
        read(query, V1)
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize("query", ["cursor=a", "group=a", "reply"])
@pytest.mark.parametrize(
    ("headers", "websocket"), [({}, True), ({"Sec-WebSocket-Protocol": "cloudevents.json"}, True), (LINES, False)]
)
def test_only_one_format_has_acknowledgements(query: str, headers: dict[str, str], websocket: bool) -> None:
    with pytest.raises(Refused, match=r"hookbot\.v1"):
        read(query, headers, websocket=websocket)


@pytest.mark.parametrize("headers", [{}, {"Sec-WebSocket-Protocol": "hookbot.raw"}])
def test_what_nobody_knows_is_left_alone_in_raw_subscriptions_as_the_ancestor_did(headers: dict[str, str]) -> None:
    assert read("utm_source=mail&token=abc&sinse=2h", headers) == read("", headers)


@pytest.mark.parametrize(
    ("headers", "websocket"),
    [
        (V1, True),
        ({"Sec-WebSocket-Protocol": "cloudevents.json"}, True),
        (LINES, False),
        ({"Accept": "text/event-stream"}, False),
        ({}, False),
    ],
)
@pytest.mark.parametrize(
    ("name", "hint"),
    [("sinse", "did you mean 'since'"), ("maxunacked", "did you mean 'max_unacked'"), ("x", "the parameters are ack_")],
)
def test_a_parameter_that_is_unknown_is_refused_with_the_nearest(
    headers: dict[str, str], websocket: bool, name: str, hint: str
) -> None:
    with pytest.raises(Refused, match=f"unknown query parameter '{name}': {hint}"):
        read(f"{name}=1&token=abc", headers, websocket=websocket)
