"""Heads like the one before: recognised if they decide the same, and then read as any other way reads them."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import hookbot
from hookbot.access.admitted import NEVER_STORED
from hookbot.access.authorizer import Authorizer
from hookbot.access.control import AccessControl
from hookbot.access.reply_rules import ReplyRules
from hookbot.access.senders import Standing
from hookbot.errors import Refused
from hookbot.protocol.http1 import Head
from hookbot.protocol.message import Headers, wall_clock_us
from hookbot.protocol.paths import is_for_app
from hookbot.protocol.replies import Reply
from hookbot.protocol.topics import TopicFilter
from hookbot.web.bodies import BodyBudget
from hookbot.web.fastpath.context import Exchange
from hookbot.web.fastpath.usual_head import DECISIVE, LENGTH, MAX_BYTES, TOKEN, UsualHead
from support import KEY
from support.clients import basic, post

RULES = ReplyRules(TopicFilter(("a",)), 1, Reply())
ACCESS = AccessControl(Authorizer([KEY]), clock_us=wall_clock_us, replies=RULES)
ASKS = re.compile(
    r"\b(?:header|sent|tokens|(?:request|self)\.fields\.get)\(\"([a-z-]+)\"|\"([a-z-]+)\" (?:not )?in [a-z.]*fields"
)
"""What looks up a header of a request in the source."""
USUAL = ["X-Id: 1", "Cookie: a=1", "Accept: */*", "Traceparent: 00-1", "x-id: again", "Content-Type: text/plain"]
OTHERS = [
    "X-Id: 2",
    "X-Id:  2  ",
    "X-Id:",
    "x-id: 2",
    "X-Id: \t2",
    "X-Id: \xe9",
    "X-Id: a\x7f",
    "X-Id : 2",
    "X-Id",
    "X-Ids: 2",
    " X-Id: 2",
    "",
    "Cookie: a=2",
    "Accept: application/json",
    "Content-Length: 7",
    "Content-Length: 7, 7",
    "Transfer-Encoding: chunked",
    "Content-Type: image/png; name=a: b",
]


BODIES = BodyBudget(10, 40)
PATH, OTHER = "/pub/a?b=c", "/pub/b"
PATHS = [
    PATH,
    OTHER,
    "/pub/b?b=c",
    "/pub/b?extra-metadata=no",
    "/%70ub/b",
    "/pub/%62",
    "/b",
    " /pub/b",
    "/pub/b ",
    "/pub",
]


def head_of(fields: list[str], length: str = "5", path: str = PATH, token: str | None = None) -> bytes:
    return post(path, None, f"Content-Length: {length}", *fields, token=token)


def slowly(data: bytes) -> tuple[str, int, Headers] | None:
    """Topic, length and headers to store, as they are read without another head to compare with; None if refused."""
    try:
        head = Head(data)
        admitted = ACCESS.admit_publish(head.request)
    except Refused:
        return None
    if is_for_app(head.request.raw_path):
        return None
    draft = admitted.draft(b"")
    return draft.topic, head.length, draft.headers


def quickly(usual: UsualHead, data: bytes) -> tuple[str, int, Headers] | None:
    """The same, as they are read by comparing with the usual head."""
    like = usual.read(data, ACCESS)
    return None if like is None else (like[0].topic, *like[1:])


def usual(data: bytes) -> UsualHead:
    head = Head(data)
    admitted = ACCESS.admit_publish(head.request)
    assert UsualHead.suits(data, head, admitted)
    return UsualHead(
        data, Exchange(head), BODIES.open(None, Standing.TOKEN, ""), admitted.request, ACCESS.clients.proxies
    )


@pytest.mark.parametrize(
    ("fields", "length"),
    [
        pytest.param(USUAL, "5", id="the same"),
        pytest.param(["X-Id: 2", "Cookie: b=2", *USUAL[2:]], "5", id="ids and secrets"),
        pytest.param([*USUAL[:-1], "Content-Type: application/json"], "12345", id="another body"),
        pytest.param(["X-Id:   a b: c  ", *USUAL[1:4], "x-id:", USUAL[5]], "0", id="blanks and nothing"),
    ],
)
def test_a_head_that_differs_in_what_decides_nothing_is_recognised(fields: list[str], length: str) -> None:
    data = head_of(fields, length)

    assert quickly(usual(head_of(USUAL)), data) == slowly(data) != None  # noqa: E711 - a chain


def test_a_head_may_differ_from_the_usual_one_in_another_way_each_time() -> None:
    head = usual(head_of(USUAL))
    for fields in (USUAL, ["X-Id: 2", *USUAL[1:]], [*USUAL[:-1], "Content-Type: a/b"], USUAL):
        assert quickly(head, head_of(fields)) == slowly(head_of(fields)) != None  # noqa: E711 - a chain


def test_a_head_for_another_path_is_recognised_once_that_and_its_token_have_a_permit() -> None:
    head, data = usual(head_of(USUAL)), head_of(USUAL, path="/pub/first")
    assert quickly(head, data) is None

    assert slowly(data) == quickly(head, data) != None  # noqa: E711 - a chain
    assert quickly(head, head_of(USUAL, path="/pub/first", token=basic(PATH))) is None


@pytest.mark.parametrize(
    "data",
    [
        head_of([*USUAL, "X-More: 1"]),
        head_of(USUAL[1:]),
        head_of(USUAL[::-1]),
        head_of(USUAL, path="/pub/never"),
        head_of(USUAL, path=OTHER, token="nonsense"),
        head_of(USUAL, path=OTHER).replace(b"POST", b"PUT"),
        head_of(USUAL, path=OTHER).replace(b"POST ", b"POST  "),
        head_of(USUAL, path=OTHER).replace(b" HTTP", b"  HTTP"),
        head_of(USUAL, path=OTHER).replace(b"HTTP/1.1", b"HTTP/1.0"),
        head_of(USUAL, path=OTHER).replace(b"HTTP/1.1", b"HTTP/1.1 "),
        head_of(USUAL, path=OTHER).replace(b"\r\nHost", b"\r\nX: 1\r\nHost"),
        head_of(USUAL).replace(b"b=c", b"b=d"),
        head_of(USUAL).replace(b"/pub/a?b=c HTTP/1.1", b"/pub/a?b=c HTTP/1.10"),
        head_of(USUAL).replace(b"Host: hub", b"Host: bub"),
        head_of(USUAL).replace(b"Basic ", b"basic "),
        head_of(USUAL).replace(b"*/*", b"application/json"),
        head_of(USUAL).replace(b"Traceparent", b"traceparent"),
        head_of(USUAL, "+5"),
        head_of(USUAL, "5, 5"),
        head_of(USUAL, ""),
        head_of(USUAL, "0" * 19),
        head_of(USUAL).replace(b"00-1", b"00-\t1"),
        head_of(USUAL).replace(b"00-1", b"00-\0"),
        head_of(USUAL).replace(b"00-1", b"00-\n1"),
    ],
)
def test_any_other_head_is_left_to_the_parser(data: bytes) -> None:
    for path in (PATH, OTHER):
        assert slowly(head_of(USUAL, path=path))

    assert quickly(usual(head_of(USUAL)), data) is None


@pytest.mark.parametrize("path", PATHS)
def test_a_path_with_a_permit_is_recognised_only_as_the_parser_reads_it(path: str) -> None:
    data = head_of(USUAL, path=path)
    expected = slowly(data)

    assert quickly(usual(head_of(USUAL)), data) in (None, expected)


@given(
    st.lists(st.sampled_from(USUAL + OTHERS), min_size=len(USUAL), max_size=len(USUAL)),
    st.text("057 +", max_size=3),
    st.sampled_from(PATHS),
    st.sampled_from([PATH, OTHER, "/"]),
)
def test_whatever_is_recognised_is_read_as_the_parser_reads_it(
    fields: list[str], length: str, path: str, opens: str
) -> None:
    head, data = usual(head_of(USUAL)), head_of(fields, length, path, basic(opens))
    for other in PATHS:
        slowly(head_of(USUAL, path=other, token=basic(opens)))

    assert quickly(head, data) in (None, slowly(data))
    # Neither has it learned anything wrong from that one.
    assert quickly(head, head_of(USUAL)) == slowly(head_of(USUAL))


def test_of_two_tokens_none_is_taken_for_the_only_one() -> None:
    twice = [*USUAL, f"Authorization: Basic {basic(OTHER)}"]
    head, data = Head(head_of(twice)), head_of(twice)
    assert slowly(head_of(USUAL, path=OTHER))
    admitted = ACCESS.admit_publish(Head(head_of(USUAL)).request)

    one = UsualHead(
        data, Exchange(head), BODIES.open(None, Standing.TOKEN, ""), admitted.request, ACCESS.clients.proxies
    )

    assert quickly(one, data.replace(basic(PATH).encode(), basic(OTHER).encode())) is None


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(post("/unsafe/pub/a"), id="no token"),
        pytest.param(post("/pub/a", None, "Transfer-Encoding: chunked"), id="chunked"),
        pytest.param(post("/pub/a", None, "Expect: 100-continue"), id="100 Continue"),
        pytest.param(post("/pub/a", None, "X: " + "x" * MAX_BYTES), id="long"),
        pytest.param(post("/pub/a?reply", None), id="reply"),
    ],
)
def test_only_a_head_that_is_short_and_has_a_token_is_compared_with_others(data: bytes) -> None:
    head = Head(data[: data.index(b"\r\n\r\n") + 4])

    assert not UsualHead.suits(data, head, ACCESS.admit_publish(head.request))


def test_every_header_that_anything_asks_for_decides_or_is_of_another_kind_of_request() -> None:
    of_websockets = {"sec-websocket-key", "sec-websocket-version", "sec-websocket-protocol", "last-event-id"}
    of_stored_messages = {"content-type", "content-encoding"}
    # Beneath /hookbot/, which the fast path hands over.
    of_the_console = {"cookie", "sec-fetch-site", "x-forwarded-proto"}
    # Fields of JSON, which are no headers.
    of_frames = {"body", "time", "type"}
    of_a_get = {"service-worker"}
    of_the_log = {"traceparent"}
    asked: set[str] = set()
    for package in ("protocol", "access", "web"):
        for path in (Path(hookbot.__file__).parent / package).rglob("*.py"):
            asked |= {one or other for one, other in ASKS.findall(path.read_text())}

    assert {"authorization", "accept", "origin"} <= asked
    of_requests = of_websockets | of_the_console | of_a_get
    known = of_requests | of_stored_messages | of_frames | of_the_log | {LENGTH, TOKEN}
    assert asked - known <= DECISIVE
    assert not DECISIVE & NEVER_STORED
