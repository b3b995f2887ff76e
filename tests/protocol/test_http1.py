"""HTTP/1.1, as the fast path reads and writes it."""

import re
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookbot.errors import BodyTooLarge, HeadersTooLarge
from hookbot.protocol.http1 import (
    MAX_HEAD_BYTES,
    MAX_LINE_BYTES,
    BadRequest,
    Chunked,
    Counted,
    Head,
    encode_response,
    encode_stored,
    head_end,
    skip_empty_lines,
)
from hookbot.protocol.message import Duplicate, Message, format_id
from hookbot.protocol.response import Response, stored_response

DATE = re.compile(rb"Date: [^\r]+")
POST = b"POST /a HTTP/1.1\r\nHost: a\r\n"


# --- heads


def test_a_head_is_taken_apart() -> None:
    head = Head(b"POST /a%20b?c=d HTTP/1.1\r\nHost: hub:1\r\nX: one\r\nx:\ttwo \t\r\nEmpty:\r\n\r\n", "1.2.3.4")

    request = head.request
    assert (request.method, request.target, request.client) == ("POST", b"/a%20b?c=d", "1.2.3.4")
    assert request.headers == (("Host", "hub:1"), ("X", "one"), ("x", "two"), ("Empty", ""))
    assert (head.version, head.keep_alive, head.has_body, head.expects_continue) == ("1.1", True, False, False)


def test_a_header_may_have_any_byte_that_is_no_control_character() -> None:
    head = Head(b"POST / HTTP/1.1\r\nHost: a\r\nX: \x80 \xff\t~!\r\n\r\n")

    assert head.request.headers[1] == ("X", "\x80 \xff\t~!")


def test_scheme_and_host_of_a_target_are_left_out() -> None:
    assert Head(b"POST HTTP://hub:80/a?b HTTP/1.1\r\nHost: a\r\n\r\n").request.target == b"/a?b"


@pytest.mark.parametrize(
    ("version", "connection", "kept"),
    [
        ("1.1", "", True),
        ("1.1", "Connection: close\r\n", False),
        ("1.1", "Connection: x, CLOSE\r\n", False),
        ("1.1", "Connection: keep-alive\r\nConnection: close\r\n", False),
        ("1.1", "Connection: closed\r\n", True),
        ("1.0", "", False),
        ("1.0", "Connection: keep-alive\r\n", True),
        ("1.0", "Connection: keep-alive, close\r\n", False),
    ],
)
def test_a_connection_is_kept_as_its_version_and_options_say(version: str, connection: str, kept: bool) -> None:
    assert Head(f"POST / HTTP/{version}\r\nHost: a\r\n{connection}\r\n".encode()).keep_alive is kept


def test_a_websocket_handshake_is_a_head_like_any_other() -> None:
    head = Head(b"GET /sub/a HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")

    assert (head.request.header("upgrade"), head.keep_alive, head.has_body) == ("websocket", True, False)


def test_only_a_client_of_1_1_can_wait_for_100_continue() -> None:
    assert Head(POST + b"Expect: 100-Continue\r\n\r\n").expects_continue
    assert Head(POST + b"Expect: x, 100-continue\r\n\r\n").expects_continue
    assert not Head(b"POST / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n").expects_continue


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"POST /a HTTP/1.2\r\nHost: a\r\n\r\n", id="unknown version"),
        pytest.param(b"POST /a HTTP/2.0\r\nHost: a\r\n\r\n", id="HTTP/2"),
        pytest.param(b"POST /a http/1.1\r\nHost: a\r\n\r\n", id="version in lower case"),
        pytest.param(b"POST /a RTSP/1.0\r\nHost: a\r\n\r\n", id="another protocol"),
        pytest.param(b"POST /a\r\nHost: a\r\n\r\n", id="no version"),
        pytest.param(b"POST  /a HTTP/1.1\r\nHost: a\r\n\r\n", id="two spaces"),
        pytest.param(b"POST /a  HTTP/1.1\r\nHost: a\r\n\r\n", id="two spaces before the version"),
        pytest.param(b"POST /a HTTP/1.1 \r\nHost: a\r\n\r\n", id="space after the version"),
        pytest.param(b"POST /a\tb HTTP/1.1\r\nHost: a\r\n\r\n", id="tab in the target"),
        pytest.param(b"POST /\xff HTTP/1.1\r\nHost: a\r\n\r\n", id="target that is not ASCII"),
        pytest.param(b"POST a HTTP/1.1\r\nHost: a\r\n\r\n", id="target that is a word"),
        pytest.param(b"POST * HTTP/1.1\r\nHost: a\r\n\r\n", id="target for all"),
        pytest.param(b"POST ?a HTTP/1.1\r\nHost: a\r\n\r\n", id="target without a path"),
        pytest.param(b"POST http://a HTTP/1.1\r\nHost: a\r\n\r\n", id="URL without a path"),
        pytest.param(b"POST ftp://a/b HTTP/1.1\r\nHost: a\r\n\r\n", id="URL of another kind"),
        pytest.param(b"POST /a HTTP/1.1\r\n\r\n", id="no Host"),
        pytest.param(POST + b"Host: a\r\n\r\n", id="two Hosts"),
        pytest.param(b"POST /a HTTP/1.1\r\nHost: a b\r\n\r\n", id="Host with a space"),
        pytest.param(b"POST /a HTTP/1.1\r\nHost: a/b\r\n\r\n", id="Host with a path"),
        pytest.param(b"POST /a HTTP/1.0\r\nHost: \xff\r\n\r\n", id="Host that is not ASCII"),
        pytest.param(POST + b"X: a\r\n b\r\n\r\n", id="folded header"),
        pytest.param(b"POST /a HTTP/1.1\r\n Host: a\r\n\r\n", id="folded request line"),
        pytest.param(POST + b"X: a\rb\r\n\r\n", id="bare CR"),
        pytest.param(POST + b"X: a\0b\r\n\r\n", id="NUL"),
        pytest.param(POST + b"X: a\x1fb\r\n\r\n", id="control character"),
        pytest.param(POST + b"X : a\r\n\r\n", id="space before the colon"),
        pytest.param(POST + b"X\r\n\r\n", id="no colon"),
        pytest.param(POST + b": a\r\n\r\n", id="no name"),
        pytest.param(POST + b"X(: a\r\n\r\n", id="name that is no token"),
        pytest.param(POST + b"X\xff: a\r\n\r\n", id="name that is not ASCII"),
        pytest.param(POST + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\n", id="repeated length"),
        pytest.param(POST + b"Content-Length: 3\r\ncontent-length: 4\r\n\r\n", id="conflicting lengths"),
        pytest.param(POST + b"Content-Length: 3, 3\r\n\r\n", id="list of lengths"),
        pytest.param(POST + b"Content-Length: +3\r\n\r\n", id="length with a sign"),
        pytest.param(POST + b"Content-Length: 0x3\r\n\r\n", id="hexadecimal length"),
        pytest.param(POST + b"Content-Length: 3_0\r\n\r\n", id="length with an underscore"),
        pytest.param(POST + b"Content-Length: \xb2\r\n\r\n", id="superscript length"),
        pytest.param(POST + b"Content-Length:\r\n\r\n", id="empty length"),
        pytest.param(POST + b"Content-Length: 0000000000000000003\r\n\r\n", id="length that is too long"),
        pytest.param(POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", id="length and coding"),
        pytest.param(POST + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n", id="coding and length"),
        pytest.param(POST + b"Transfer-Encoding: gzip\r\n\r\n", id="unknown coding"),
        pytest.param(POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n", id="two codings"),
        pytest.param(POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", id="repeated coding"),
        pytest.param(POST + b"Transfer-Encoding: \r\n\r\n", id="empty coding"),
        pytest.param(POST + b"Transfer-Encoding: xchunked\r\n\r\n", id="almost chunked"),
        pytest.param(b"POST /a HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", id="coding in HTTP/1.0"),
    ],
)
def test_a_head_that_two_readers_could_read_in_two_ways_is_refused(data: bytes) -> None:
    assert head_end(bytearray(data)) == len(data)
    with pytest.raises(BadRequest):
        Head(data)


@pytest.mark.parametrize("data", [b"POST / HTTP/1.1\nHost: a\n\n", b"POST / HTTP/1.1\r\nHost: a\n\r\n", b"\n"])
def test_a_bare_line_feed_is_refused_as_soon_as_it_comes(data: bytes) -> None:
    with pytest.raises(BadRequest):
        head_end(bytearray(data))


def test_a_head_ends_with_an_empty_line_and_may_wait_for_it_byte_by_byte() -> None:
    data = POST + b"\r\n"

    assert [head_end(bytearray(data[:size])) for size in range(len(data))] == [0] * len(data)
    assert head_end(bytearray(data + b"\nbody")) == len(data)


def test_a_head_that_is_too_long_is_refused_before_it_is_whole() -> None:
    assert head_end(bytearray(b"POST /" + b"a" * (MAX_HEAD_BYTES - 6))) == 0
    with pytest.raises(HeadersTooLarge):
        head_end(bytearray(b"POST /" + b"a" * (MAX_HEAD_BYTES - 5)))
    with pytest.raises(HeadersTooLarge):
        head_end(bytearray(b"POST /" + b"a" * MAX_HEAD_BYTES + b"\r\n\r\n"))


def test_half_an_empty_line_before_a_request_is_waited_for() -> None:
    assert head_end(bytearray(b"\r")) == 0
    with pytest.raises(BadRequest):
        head_end(bytearray(b"\rP"))


@given(st.binary())
def test_no_bytes_do_anything_to_a_head_but_make_one_or_be_refused(data: bytes) -> None:
    data = b"POST /a HTTP/1.1\r\nHost: a\r\n" + data + b"\r\n\r\n"
    try:
        end = head_end(bytearray(data))
        head = Head(data[:end])
    except (BadRequest, HeadersTooLarge):
        return
    names = [line.partition(b":")[0] for line in data[:end].split(b"\r\n")[1:-2]]
    assert [name.encode() for name, _ in head.request.headers] == names


# --- bodies


def take(coding: Chunked | Counted, data: bytes, *, pieces: Callable[..., Any]) -> tuple[bool, bytes, bytes]:
    """Body that a reader takes from data in these pieces, and the rest that it leaves."""
    buffer, body, complete = bytearray(), bytearray(), False
    for piece in pieces(data):
        buffer += piece
        before = len(buffer) + 1
        while not complete and len(buffer) < before:
            before = len(buffer)
            complete = coding.take(buffer, body.extend)
    return complete, bytes(body), bytes(buffer)


def chunked() -> Chunked | Counted:
    return Head(POST + b"Transfer-Encoding: chunked\r\n\r\n").body()


def bytewise(data: bytes) -> list[bytes]:
    return [data[n : n + 1] for n in range(len(data))]


def whole(data: bytes) -> list[bytes]:
    return [data]


CHUNKED = b'5\r\nhello\r\n1;a=b;c="d"\r\n \r\n00005\r\nworld\r\n0;last\r\nX-Trailer: yes\r\nY:\r\n\r\n'


@pytest.mark.parametrize("pieces", [whole, bytewise])
def test_a_chunked_body_is_taken_to_its_end_and_no_further(pieces: Callable[..., Any]) -> None:
    assert take(chunked(), CHUNKED + b"POST /next", pieces=pieces) == (True, b"hello world", b"POST /next")


def test_a_body_of_many_tiny_chunks_is_taken_in_several_steps() -> None:
    body, buffer, taken = chunked(), bytearray(b"1\r\na\r\n" * 1000 + b"0\r\n\r\n"), bytearray()

    assert not body.take(buffer, taken.extend)
    assert 0 < len(taken) < 100
    assert take(body, bytes(buffer), pieces=whole) == (True, b"a" * (1000 - len(taken)), b"")


def test_a_chunked_body_behind_an_upgrade_is_read_like_any_other() -> None:
    head = Head(POST + b"Connection: Upgrade\r\nUpgrade: x\r\nTransfer-Encoding: chunked\r\n\r\n")

    assert take(head.body(), CHUNKED + b"POST", pieces=whole) == (True, b"hello world", b"POST")


def test_empty_lines_before_a_request_are_skipped() -> None:
    buffer = bytearray(b"\r\n\r\nPOST")
    skip_empty_lines(buffer)

    assert buffer == b"POST"


@pytest.mark.parametrize("data", [b"\x16\x03\x01", b"\0", b" POST", b"\x16\r\n"])
def test_what_begins_no_method_is_refused_as_soon_as_it_comes(data: bytes) -> None:
    with pytest.raises(BadRequest):
        head_end(bytearray(data))


@pytest.mark.parametrize("method", ["BREW", "M-SEARCH", "CONNECT", "PRI", "DESCRIBE"])
def test_a_method_that_nobody_knows_is_read_like_any_other(method: str) -> None:
    assert Head(f"{method} /a HTTP/1.1\r\nHost: a\r\n\r\n".encode()).request.method == method


def test_a_chunked_body_may_be_split_anywhere() -> None:
    for split in range(len(CHUNKED)):
        cut = [CHUNKED[:split], CHUNKED[split:]]
        assert take(chunked(), CHUNKED, pieces=lambda _, cut=cut: cut) == (True, b"hello world", b"")


@given(st.lists(st.binary(min_size=1)), st.data())
def test_chunks_come_back_as_one_body_however_they_are_cut(chunks: list[bytes], data: st.DataObject) -> None:
    sent = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    cuts = sorted(data.draw(st.sets(st.integers(0, len(sent)))) | {0, len(sent)})
    pieces = [sent[start:end] for start, end in pairwise(cuts)]

    assert take(chunked(), sent, pieces=lambda _: pieces) == (True, b"".join(chunks), b"")


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"z\r\n", id="no number"),
        pytest.param(b"-1\r\n", id="negative"),
        pytest.param(b"0x1\r\na\r\n", id="prefix"),
        pytest.param(b" 1\r\na\r\n", id="space before"),
        pytest.param(b"\r\n", id="no size"),
        pytest.param(b"1_0\r\n", id="underscore"),
        pytest.param(b"1" * 17 + b"\r\n", id="more than memory"),
        pytest.param(b"0" * 15 + b"1\r\na\r\n", id="more digits than it needs"),
        pytest.param(b"1\na\r\n", id="bare LF after the size"),
        pytest.param(b"1\r\nab\r\n", id="longer than it says"),
        pytest.param(b"2\r\na\r\n0\r\n\r\n", id="shorter than it says"),
        pytest.param(b"1\r\na\n0\r\n\r\n", id="bare LF after the chunk"),
        pytest.param(b"1;a\0b\r\na\r\n", id="NUL in an extension"),
        pytest.param(b"1;a\rb\r\na\r\n", id="CR in an extension"),
        pytest.param(b"1a b\r\n", id="space in the size"),
        pytest.param(b"0\r\nX\r\n\r\n", id="trailer without a colon"),
        pytest.param(b"0\r\nX: a\r\n b\r\n\r\n", id="folded trailer"),
        pytest.param(b"0\r\nX: a\n\r\n", id="bare LF after a trailer"),
        pytest.param(b"0\r\n\n", id="bare LF at the end"),
        pytest.param(b"1;" + b"x" * MAX_LINE_BYTES, id="endless extension"),
        pytest.param(b"1;" + b"x" * MAX_LINE_BYTES + b"\r\n", id="long extension"),
        pytest.param(b"0\r\n" + b"X: y\r\n" * MAX_LINE_BYTES, id="endless trailers"),
    ],
)
@pytest.mark.parametrize("pieces", [whole, bytewise])
def test_what_is_no_chunked_body_is_refused_and_stays_so(data: bytes, pieces: Callable[..., Any]) -> None:
    body, buffer = chunked(), bytearray()
    with pytest.raises(BadRequest):  # noqa: PT012 - at any piece
        for piece in pieces(data):
            buffer += piece
            body.take(buffer, bytearray().extend)

    with pytest.raises(BadRequest):
        body.take(buffer, bytearray().extend)


@pytest.mark.parametrize("pieces", [whole, bytewise])
def test_a_counted_body_is_taken_to_its_end_and_no_further(pieces: Callable[..., Any]) -> None:
    assert take(Counted(5), b"helloPOST", pieces=pieces) == (True, b"hello", b"POST")
    assert take(Counted(5), b"hell", pieces=pieces) == (False, b"hell", b"")


def test_a_body_that_was_not_declared_is_empty() -> None:
    body = Head(POST + b"\r\n").body()

    assert take(body, b"POST", pieces=whole) == (True, b"", b"POST")


def test_a_chunked_body_that_is_complete_stays_complete() -> None:
    body = chunked()
    assert take(body, CHUNKED, pieces=whole) == (True, b"hello world", b"")

    assert take(body, b"POST", pieces=whole) == (True, b"", b"POST")


@pytest.mark.parametrize(("coding", "sent"), [(Counted(5), b"hello"), (chunked(), b"5\r\nhello\r\n0\r\n\r\n")])
def test_what_could_not_be_written_is_still_there_to_be_thrown_away(coding: Counted | Chunked, sent: bytes) -> None:
    def refuse(data: bytes) -> None:
        raise BodyTooLarge

    buffer = bytearray(sent + b"POST")
    with pytest.raises(BodyTooLarge):
        coding.take(buffer, refuse)

    assert coding.take(buffer, lambda data: None)
    assert buffer == b"POST"


# --- answers


def test_an_answer_says_what_becomes_of_the_connection() -> None:
    answer = Response(b"no\n", 404, (("X", "y"), ("Z", "\xe9")))

    kept = encode_response(answer, version="1.1", close=False)

    assert kept.startswith(b"HTTP/1.1 404 Not Found\r\nX: y\r\nZ: \xe9\r\nDate: ")
    assert kept.endswith(b" GMT\r\nContent-Length: 3\r\n\r\nno\n")
    assert b"\r\nConnection: close\r\n" in encode_response(answer, version="1.0", close=True)
    assert b"\r\nConnection: keep-alive\r\n" in encode_response(answer, version="1.0", close=False)


@pytest.mark.parametrize("json", [False, True])
@pytest.mark.parametrize("outcome", [Message("a", id=format_id("abcdefgh", 12)), Duplicate(format_id("abcdefgh", 7))])
def test_the_answer_to_a_stored_publish_is_that_of_its_response(outcome: Message | Duplicate, json: bool) -> None:
    data = encode_stored(outcome, json=json, version="1.0", close=False)

    expected = encode_response(stored_response(outcome, json=json), version="1.0", close=False)
    assert DATE.sub(b"", data) == DATE.sub(b"", expected)
    assert data.count(outcome.id.encode()) == 1 + json
