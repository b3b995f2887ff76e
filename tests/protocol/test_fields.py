"""Plain header fields: read as httptools reads them, or not at all."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookbot.protocol.fields import Fields, join_fields, read_plain
from hookbot.protocol.http1 import BadRequest, _parse
from hookbot.protocol.message import Headers

PLAIN = [
    b"Host: hub",
    b"User-Agent: GitHub-Hookshot/044aadd",
    b"X-Hub-Signature-256: sha256=" + b"ab" * 32,
    b"Content-Length: 7",
    b"content-type:application/json; charset=utf-8",
    b"X-Twice: 1",
    b"x-twice:   2  ",
    b"X-Empty:",
    b"X-Blank:   ",
    b"X_Under: a: b",
    b"Connection: Upgrade, close",
    b"Upgrade: websocket",
    b"Expect: 100-continue",
]
ODD = [
    b"Content-Length: 7 ",
    b"Content-Length: 7, 7",
    b"Content-Length:",
    b"Content-Length: +7",
    b"Content-Length: 99999999999999999999999",
    b"Transfer-Encoding: chunked",
    b"transfer-encoding: gzip",
    b"X-Tab:\ta\t",
    b"X-Latin: \xe4\xff",
    b"X-Nul: a\0b",
    b"X-Control: a\x1fb",
    b"X-Delete: a\x7fb",
    b"X-CR: a\rb",
    b"X-LF: a\nb",
    b"X-Swapped: a\n\rb",
    b"X Blank: a",
    b"X-Blank : a",
    b" folded",
    b"\tfolded",
    b": no name",
    b"no colon",
    b"",
    b"X(: no token",
    b"X!: token",
    b"\xffX: a",
    b"X" * 65 + b": long",
    b"\r",
    b"\n",
]


def read(lines: list[bytes]) -> tuple[Headers, Fields] | None:
    return read_plain(b"POST /" + b"".join(b"\r\n" + line for line in lines) + b"\r\n\r\n", len(b"POST /\r\n"))


def parsed(lines: list[bytes]) -> tuple[Headers, Fields] | None:
    """What httptools reads; None if it refuses them."""
    try:
        return _parse(b"".join(line + b"\r\n" for line in lines) + b"\r\n")
    except BadRequest:
        return None


@pytest.mark.parametrize("lines", [[], *[[line] for line in PLAIN], PLAIN, PLAIN[::-1]])
def test_plain_fields_are_read_as_httptools_reads_them(lines: list[bytes]) -> None:
    assert read(lines) == parsed(lines)
    assert read(lines) is not None


@pytest.mark.parametrize("line", ODD)
@pytest.mark.parametrize("place", [0, 3, len(PLAIN)])
def test_a_head_with_one_odd_field_is_left_to_httptools_or_read_as_it_does(line: bytes, place: int) -> None:
    lines = [*PLAIN[:place], line, *PLAIN[place:]]

    assert read(lines) in (None, parsed(lines))


@given(st.lists(st.one_of(st.sampled_from(PLAIN + ODD), st.binary(max_size=20)), max_size=6))
def test_whatever_is_read_is_what_httptools_reads(lines: list[bytes]) -> None:
    assert read(lines) in (None, parsed(lines))


def test_a_repeated_field_is_one_with_both_values() -> None:
    assert join_fields((("X", "1"), ("Y", "2"), ("x", "3"))) == {"x": "1, 3", "y": "2"}
