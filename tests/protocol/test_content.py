"""Bodies, and the values that their senders meant."""

import json
from dataclasses import replace
from typing import Any, Required, TypedDict
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookbot.errors import BodyTooLarge
from hookbot.protocol.bodies import UNTRUSTED, VERIFIED
from hookbot.protocol.content import part_reader, read_content
from hookbot.protocol.json_text import write_json

FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=b"
LABELS = [
    *("", FORM, f"{FORM}; charset=utf-8", "text/plain", "application/octet-stream", "application/json", "nonsense"),
    *("application/vnd.acme+json", "application/csp-report", MULTIPART, "multipart/form-data"),
]


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf", b"\r\n\t "])
@pytest.mark.parametrize("body", [b'{"action": "opened"}', b"[1]", b'"text"', b"1", b"null"])
def test_what_parses_as_json_is_json_whatever_its_label(label: str, mark: bytes, body: bytes) -> None:
    assert read_content(mark + body, label, VERIFIED) == json.loads(body)


@pytest.mark.parametrize(
    ("body", "content"),
    [
        (b"a=1&b=%20&c", {"a": "1", "b": " ", "c": ""}),
        (b"a=1&a=2&b=3", {"a": ["1", "2"], "b": "3"}),
        (b"payload=%7B%22a%22%3A1%7D", {"a": 1}),
        (b"payload=%EF%BB%BF%7B%22a%22%3A1%7D", {"a": 1}),
        (b"b=%EF%BB%BF%20[1]&c=%EF%BB%BF", {"b": [1], "c": "\ufeff"}),
        (b"payload=text", "text"),
        (b"payload=%7B%22a%22%3A1%7D&x=1", {"payload": {"a": 1}, "x": "1"}),
        (b"payload=1&payload=2", {"payload": ["1", "2"]}),
        (b"mandrill_events=%5B%7B%22event%22%3A%22send%22%7D%5D", {"mandrill_events": [{"event": "send"}]}),
        (b"a=%5B1&b=1.0&c=true", {"a": "[1", "b": "1.0", "c": "true"}),
        (b"a=" + b"[" * 100_000, {"a": "[" * 100_000}),
        (b"{not json", {"{not json": ""}),
    ],
)
def test_a_form_is_an_object_of_its_fields(body: bytes, content: Any) -> None:
    assert read_content(body, FORM, VERIFIED) == content


@pytest.mark.parametrize(
    ("body", "label"),
    [
        (b"name=Jos%E9&x=1", f"{FORM}; charset=ISO-8859-1"),
        (b"name=Jos\xe9&x=1", f"{FORM}; charset=windows-1252"),
        (b"name=Jos%C3%A9&x=1", f"{FORM}; charset=ISO-8859-1"),
        (b"name=Jos%E9&x=1&_charset_=iso-8859-1", FORM),
        (b"name=Jos\xe9&x=1&_charset_=iso-8859-1", FORM),
        (b"name=Jos%E9&x=1&y=\xe9", f"{FORM}; charset=ISO-8859-1"),
        (b"\xef\xbb\xbfname=Jos%C3%A9&x=1", FORM),
        ("name=José&x=1".encode("utf-16"), FORM),
        (b"name=Jos%E9&x=1&charset=windows-1252", FORM),
        (b"name=Jos%E9&x=1", f"{FORM}; charset='latin1';"),
        (b"name=Jos\xe9&x=1" + b"&" * 100_000, f"{FORM}; charset=windows-1252"),
    ],
)
def test_a_form_is_read_in_the_charset_that_it_is_in(body: bytes, label: str) -> None:
    content = read_content(body, label, replace(VERIFIED, fields=1 << 20))

    assert (content["name"], content["x"]) == ("José", "1")


@pytest.mark.parametrize("charset", ["shift_jis", "gbk", "utf-16", "iso-2022-jp"])
def test_what_is_utf_8_cannot_be_labelled_as_something_else(charset: str) -> None:
    # In these charsets, the last byte of the letter and the backslash are one letter, so that the string would end.
    title = {"title": 'P\u00c1\ufffd\x1b","title":"forged'}

    for body in (json.dumps(title, ensure_ascii=False).encode(), json.dumps(title).encode()):
        assert read_content(body, f"application/json; charset={charset}", VERIFIED) == title
        form = b"payload=" + quote(body).encode()
        assert read_content(form, f"{FORM}; charset={charset}", VERIFIED) == title


@pytest.mark.parametrize(
    ("body", "label", "content"),
    [
        (b"plain", "", "plain"),
        (b"a=1", "text/plain", "a=1"),
        ("é".encode("latin-1"), "text/plain; charset=latin1", "é"),
        (b"[" * 100_000, "application/json", "[" * 100_000),
        (b'{"a": NaN}', "application/json", '{"a": NaN}'),
        (b"", "", ""),
        (b"", FORM, {}),
        (b"\xff", "", None),
        (b"a=\xff&b=1", FORM, {"a": "\ufffd", "b": "1"}),
        (b"a=%ff&b=1", FORM, {"a": "\ufffd", "b": "1"}),
        (b'payload={"a": "\xff", "b": 1}', FORM, {"a": "\ufffd", "b": 1}),
        (b"a=\xff&b=\0", FORM, None),
        (b"\x89PNG\r\n\x1a\n", FORM, None),
        (b"a=%ff&b", f"{FORM}; charset=utf-16", {"a": "\ufffd", "b": ""}),
        (b"a=%81&b=\x1b", f"{FORM}; charset=iso-2022-jp", {"a": "\ufffd", "b": "\ufffd"}),
        (b"a=\x81&b", f"{FORM}; charset=shift_jis", {"a": "\ufffd", "b": ""}),
        (b"--b\r\nno end", MULTIPART, "--b\r\nno end"),
        (b"\xff", MULTIPART, None),
    ],
)
def test_anything_else_is_text_or_nothing(body: bytes, label: str, content: Any) -> None:
    assert read_content(body, label, VERIFIED) == content


def part(head: str, data: bytes, *more: str) -> bytes:
    lines = [f"Content-Disposition: form-data; {head}", *more]
    return b"\r\n".join([b"--b", *(line.encode() for line in lines), b"", data, b""])


def test_a_multipart_form_has_its_fields_json_among_them_and_what_its_files_are() -> None:
    body = b"".join(
        [
            part('name="payload"', b'{"event": "media.play", "n": 1.10}', "Content-Type: application/json"),
            part('name="tag"', b"1"),
            part('name="tag"', "ü".encode()),
            part('name="old"', "ü".encode("latin-1"), "Content-Type: text/plain; charset=iso-8859-1"),
            part('name="thumb"; filename="thumb.jpg"', b"\xff\xd8\r\n--c", "Content-Type: image/jpeg"),
            part('name="blob"; filename="blob"', b"[1]", "Content-Type: application/json"),
            b"--b--\r\n",
        ]
    )

    content = read_content(body, MULTIPART, VERIFIED)

    assert write_json(content["payload"]) == '{"event":"media.play","n":1.10}'
    assert content["tag"] == ["1", "ü"]
    assert content["old"] == "ü"
    assert content["thumb"] == {"filename": "thumb.jpg", "content_type": "image/jpeg", "size": 7}
    assert content["blob"] == [1]


@pytest.mark.parametrize(
    ("named", "label"),
    [
        (part('name="_charset_"', b"iso-8859-1"), MULTIPART),
        # As SendGrid's Inbound Parse has it.
        (part('name="charsets"', b'{"to": "UTF-8", "a": "iso-8859-1"}'), MULTIPART),
        (b"", f"{MULTIPART}; charset=iso-8859-1"),
    ],
)
def test_the_fields_of_a_multipart_form_are_in_the_charset_that_the_form_names(named: bytes, label: str) -> None:
    body = named + part('name="a"', b"\xe9") + part('name="b"', "é".encode()) + b"--b--"

    content = read_content(body, label, VERIFIED)

    assert (content["a"], content["b"]) == ("é", "é")


@pytest.mark.parametrize("charsets", [b"", b"[]", b'{"a": 1}', b'{"a": {}}', b"{", b'{"a": "no-such"}'])
def test_a_field_whose_charset_nobody_names_is_read_as_utf_8(charsets: bytes) -> None:
    body = part('name="a"', b"\xe9") + part('name="charsets"', charsets) + b"--b--"

    assert read_content(body, MULTIPART, VERIFIED)["a"] == "\ufffd"


def test_a_form_in_iso_2022_jp_is_told_by_its_escapes() -> None:
    body = b"name=" + quote("日本語".encode("iso2022_jp")).encode() + b"&x=%1B"

    assert read_content(body, f"{FORM}; charset=ISO-2022-JP", VERIFIED)["name"] == "日本語"
    assert read_content(body, FORM, VERIFIED)["x"] == "\x1b"


MANY = b"[" + b"0," * UNTRUSTED.values + b"0]"


@pytest.mark.parametrize(
    ("body", "label"),
    [
        (MANY, ""),
        (b"payload=" + MANY, FORM),
        (b"a=" + MANY[: len(MANY) // 2] + b"]&b=" + MANY[: len(MANY) // 2] + b"]", FORM),
        (b"a=b&" * UNTRUSTED.fields, FORM),
        (b"x" * (UNTRUSTED.json_bytes + 1), ""),
        (part('name="a"', b"") * 101 + b"--b--", MULTIPART),
        (part('name="a"', MANY) + b"--b--", MULTIPART),
    ],
)
def test_more_than_the_ceiling_is_refused(body: bytes, label: str) -> None:
    with pytest.raises(BodyTooLarge):
        read_content(body, label, UNTRUSTED)


@pytest.mark.parametrize("label", ["", FORM, "text/csv"])
def test_commas_that_are_in_no_json_are_no_values(label: str) -> None:
    text = "1;2," * (UNTRUSTED.values + 1)

    assert read_content(text.encode(), label, UNTRUSTED) in (text, {text: ""})


def test_numbers_of_a_form_are_kept_as_they_were_written() -> None:
    text = '{"n":12345678901234567890.25,"m":1.10}'

    assert write_json(read_content(f"payload={quote(text)}".encode(), FORM, VERIFIED)) == text


class Inner(TypedDict):
    b: str


class Shape(TypedDict, total=False):
    a: Required[Inner]
    b: str
    c: bool


READ_PART = part_reader(Shape)
NAMES = st.sampled_from(["a", "b", "c", "d"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner),
)
OBJECTS = st.builds(
    lambda fields, a: {**fields, "a": a},
    st.dictionaries(NAMES, VALUES),
    VALUES | st.builds(lambda fields, b: {**fields, "b": b}, st.dictionaries(NAMES, VALUES), st.text()),
)
# What readers of JSON do not all take for the same.
PIECES = st.sampled_from(
    [
        *("1e400", "-0", "01", "1.", "-", "9" * 5000, "NaN", "Infinity", "null"),
        *("\\ud800", "\\x", '"', ",", ":", "{", "}", "[", "]", "//", "é"),
        *("\ufeff", "\0", "\x1b", "\n", "\x0b", "\u00a0"),
        *(',"b":1', ',"a":{"b":"x"}', '"b":"x",'),
    ]
)


def part_of(value: Any) -> Any:
    """A value reduced to what the shape has of it."""
    if not isinstance(value, dict):
        return value
    inner = value.get("a")
    part = {name: value[name] for name in ("b", "c") if name in value}
    return part | {"a": inner.get("b") if isinstance(inner, dict) else inner}


def check_part(body: bytes) -> None:
    """Check that what is read of a body as a part is that part of the whole."""
    part = READ_PART(body)

    assert part is None or repr(part_of(part)) == repr(part_of(read_content(body, "", VERIFIED)))


@given(
    OBJECTS, st.lists(st.tuples(st.floats(0, 1), PIECES), max_size=2), st.sampled_from(["utf-8", "utf-16", "cp1252"])
)
def test_a_part_is_that_of_the_whole(value: Any, pieces: list[tuple[float, str]], charset: str) -> None:
    text = json.dumps(value)
    for place, piece in pieces:
        cut = round(place * len(text))
        text = text[:cut] + piece + text[cut:]

    check_part(text.encode(charset, "replace"))


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ('{"d":1,"a":{"c":null,"b":"x"},"b":"y","c":true}', {"a": {"b": "x"}, "b": "y", "c": True}),
        (' {"\\u0061":{"b":"\\u00e9"},"d":1e400,"a":{"b":"é"}} ', {"a": {"b": "é"}}),
        ('{"a":{"b":1}}', None),
        ('{"a":{"b":"x"},"b":null}', None),
        ('{"a":{}}', None),
        ("[]", None),
        ("", None),
        ('{"a":{"b":"x"},"d":[}', None),
        ('{"a":{"b":"x"},"d":' + "[" * 200_000 + "]" * 200_000 + "}", None),
        ('{"a":{"b":"x"},"d":' + MANY.decode() + "}", {"a": {"b": "x"}}),
    ],
)
def test_a_part_is_of_its_shape(text: str, part: Any) -> None:
    assert READ_PART(text.encode()) == part
    check_part(text.encode())


@pytest.mark.parametrize("rest", [b"\xff", b"\xc3\xa9\xff", b"\0", b"\x1b"])
def test_of_a_body_that_is_not_utf_8_no_part_is_read(rest: bytes) -> None:
    assert READ_PART(b'{"a":{"b":"x"},"d":"' + rest + b'"}') is None
