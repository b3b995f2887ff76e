"""The objects that readers may find in a body."""

import json
from typing import Any
from urllib.parse import quote_plus

import pytest

from hookbot.errors import BodyTooLarge, Forbidden
from hookbot.protocol.message import Headers
from hookbot.signatures import SignedRequest
from hookbot.signatures.readings import readings_of

FORM = (("Content-Type", "application/x-www-form-urlencoded"),)
MULTIPART = (("Content-Type", "multipart/form-data; boundary=b"),)
OBJECT = {"a": "é"}
TEXT = json.dumps(OBJECT, ensure_ascii=False)


def readings(body: bytes, headers: Headers = ()) -> list[Any]:
    return list(readings_of(SignedRequest(body, headers)))


def in_form(body: bytes) -> tuple[bytes, Headers]:
    return b"payload=" + quote_plus(body).encode(), FORM


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (TEXT.encode(), ()),
        (b"\xef\xbb\xbf" + TEXT.encode(), ()),
        (TEXT.encode("utf-16"), ()),
        (TEXT.encode("utf-32"), ()),
        (TEXT.encode(), FORM),
        in_form(TEXT.encode()),
        (b"payload=1&payload=" + quote_plus(TEXT).encode(), FORM),
        (b"payload=" + quote_plus(TEXT).encode() + b"&payload=1", FORM),
        ("a=é".encode(), FORM),
        ('--b\r\nContent-Disposition: form-data; name="a"\r\n\r\né\r\n--b--\r\n'.encode(), MULTIPART),
    ],
)
def test_an_object_is_read_as_each_reader_reads_it(body: bytes, headers: Headers) -> None:
    assert OBJECT in readings(body, headers)


@pytest.mark.parametrize("body", [b"", b"x", b"[1", b"\xff", b'"{}"'])
def test_what_is_no_object_to_anybody_has_no_readings_with_fields(body: bytes) -> None:
    assert not any(readings(body))


AMBIGUOUS = [
    (b'{"a": 1, "a": 2}', "'a' twice"),
    (b'{"a": {"b": 1, "b": 2}}', "'b' twice"),
    (b'{"a": 1, "x": "\xff"}', "cannot be read as JSON"),
    (b'{"a": 1, "x": ' + b"1" * 5000 + b"}", "cannot be read as JSON"),
    (b'\xef\xbb\xbf\xef\xbb\xbf {"a": 1}', "cannot be read as JSON"),
    ('{"a": 1} x'.encode("utf-16"), "cannot be read as JSON"),
]


@pytest.mark.parametrize(("body", "reason"), AMBIGUOUS)
def test_what_readers_may_read_in_different_ways_is_refused(body: bytes, reason: str) -> None:
    with pytest.raises(Forbidden, match=reason):
        readings(body)


@pytest.mark.parametrize(("body", "reason"), AMBIGUOUS[:2])
def test_what_readers_of_a_form_may_read_in_different_ways_is_refused(body: bytes, reason: str) -> None:
    with pytest.raises(Forbidden, match=reason):
        readings(*in_form(body))


def test_what_is_nested_too_deeply_to_be_read_here_is_refused() -> None:
    # The limit depends on the calls on the stack: a router might be able to read what a source cannot.
    with pytest.raises(Forbidden, match="nested too deeply"):
        readings(b'{"a": ' + b"[" * 100_000)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-32"])
@pytest.mark.parametrize("form", [False, True], ids=["json", "form"])
def test_what_has_too_many_values_to_be_read_is_refused(form: bool, encoding: str) -> None:
    # The first character looks like a quotation mark if UTF-16 is read byte by byte.
    text = '["\u2200",' + "{}," * 1_000_000 + "{}]"
    with pytest.raises(BodyTooLarge):
        readings(*in_form(text.encode())) if form else readings(text.encode(encoding))
