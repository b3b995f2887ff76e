"""Heads like the one before: recognised if they decide the same, and then read as any other way reads them."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import hookbot
from hookbot.access.admitted import SECRET_HEADERS
from hookbot.access.authorizer import Authorizer
from hookbot.access.control import AccessControl
from hookbot.errors import Refused
from hookbot.protocol.http1 import Head
from hookbot.protocol.message import Headers, wall_clock_us
from hookbot.web.fastpath.usual_head import DECISIVE, LENGTH, MAX_BYTES, UsualHead
from support import KEY
from support.clients import post

ACCESS = AccessControl(Authorizer([KEY]), clock_us=wall_clock_us)
ASKS = re.compile(
    r"(?:\b(?:header|sent|tokens)\(|request\.fields\.get\()\"([a-z-]+)\"|\"([a-z-]+)\" (?:not )?in [a-z.]*fields"
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


def head_of(fields: list[str], length: str = "5") -> bytes:
    return post("/pub/a?b=c", None, f"Content-Length: {length}", *fields)


def slowly(data: bytes) -> tuple[int, Headers] | None:
    """Length and headers to store, as they are read without another head to compare with; None if it is refused."""
    try:
        head = Head(data)
        admitted = ACCESS.admit_publish(head.request)
    except Refused:
        return None
    return head.length, admitted.draft(b"").headers


def usual(data: bytes) -> UsualHead:
    head = Head(data)
    admitted = ACCESS.admit_publish(head.request)
    assert UsualHead.suits(data, head, admitted)
    return UsualHead(data, head, admitted)


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

    assert usual(head_of(USUAL)).read(data) == slowly(data) != None  # noqa: E711 - a chain


@pytest.mark.parametrize(
    "data",
    [
        head_of([*USUAL, "X-More: 1"]),
        head_of(USUAL[1:]),
        head_of(USUAL[::-1]),
        head_of(USUAL).replace(b"/pub/a", b"/pub/b"),
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
    assert usual(head_of(USUAL)).read(data) is None


@given(
    st.lists(st.sampled_from(USUAL + OTHERS), min_size=len(USUAL), max_size=len(USUAL)), st.text("057 +", max_size=3)
)
def test_whatever_is_recognised_is_read_as_the_parser_reads_it(fields: list[str], length: str) -> None:
    data = head_of(fields, length)

    assert usual(head_of(USUAL)).read(data) in (None, slowly(data))


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(post("/unsafe/pub/a"), id="no token"),
        pytest.param(post("/pub/a", None, "Transfer-Encoding: chunked"), id="chunked"),
        pytest.param(post("/pub/a", None, "Expect: 100-continue"), id="100 Continue"),
        pytest.param(post("/pub/a", None, "X: " + "x" * MAX_BYTES), id="long"),
    ],
)
def test_only_a_head_that_is_short_and_has_a_token_is_compared_with_others(data: bytes) -> None:
    head = Head(data[: data.index(b"\r\n\r\n") + 4])

    assert not UsualHead.suits(data, head, ACCESS.admit_publish(head.request))


def test_every_header_that_anything_asks_for_decides_or_is_of_another_kind_of_request() -> None:
    of_websockets = {"sec-websocket-key", "sec-websocket-version", "sec-websocket-protocol", "last-event-id"}
    of_stored_messages = {"content-type", "content-encoding"}
    asked: set[str] = set()
    for package in ("protocol", "access", "web"):
        for path in (Path(hookbot.__file__).parent / package).rglob("*.py"):
            asked |= {one or other for one, other in ASKS.findall(path.read_text())}

    assert {"authorization", "accept", "origin"} <= asked
    assert asked - of_websockets - of_stored_messages - {LENGTH} <= DECISIVE
    assert not DECISIVE & SECRET_HEADERS - {"authorization"}
