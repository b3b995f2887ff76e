"""Bodies as values, and the ceiling that keeps parsing cheap."""

import json
import tracemalloc
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookbot.errors import BodyTooLarge
from hookbot.protocol.bodies import UNVERIFIED, VERIFIED, Ceiling, RepeatedKey, parse_form, parse_json

SMALL = Ceiling(json_bytes=1000, form_bytes=100, values=10, fields=5, depth=3)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def count(value: Any) -> int:
    """Number of values in a value, itself included; an empty array or object counts as two."""
    inner = value if isinstance(value, list) else value.values() if isinstance(value, dict) else None
    return 1 if inner is None else 1 + (sum(map(count, inner)) or 1)


def depth(value: Any) -> int:
    """Number of arrays and objects within one another."""
    inner = value if isinstance(value, list) else list(value.values()) if isinstance(value, dict) else None
    return 0 if inner is None else 1 + max(map(depth, inner), default=0)


@given(VALUES, st.booleans())
def test_what_is_within_the_ceiling_is_parsed_and_nothing_beyond_it(value: Any, ascii_only: bool) -> None:
    body = json.dumps(value, ensure_ascii=ascii_only).encode()
    exact = Ceiling(json_bytes=len(body), form_bytes=0, values=count(value), fields=0, depth=depth(value))

    assert parse_json(body, exact) == value
    for less in (replace(exact, json_bytes=exact.json_bytes - 1), replace(exact, values=exact.values - 1)):
        with pytest.raises(BodyTooLarge):
            parse_json(body, less)
    if exact.depth:
        with pytest.raises(ValueError, match="within one another"):
            parse_json(body, replace(exact, depth=exact.depth - 1))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"[" + b"0," * 10 + b"0]", "more than 10 values"),
        (b'["' + b"a" * 1000 + b'"]', "larger than 1000 bytes"),
        # Neither an escaped quote nor an escaped backslash hides what follows it.
        (rb'["\"",' + b"0," * 10 + b"0]", "more than 10 values"),
        (rb'["\\",' + b"0," * 10 + b"0]", "more than 10 values"),
    ],
)
def test_json_beyond_the_ceiling_is_refused(body: bytes, reason: str) -> None:
    with pytest.raises(BodyTooLarge, match=reason):
        parse_json(body, SMALL)


@pytest.mark.parametrize(
    "body", [b'["' + b'[{,\\"' * 100 + b'"]', b'["\\\\", "' + b"[{," * 100 + b'"]', b"\xef\xbb\xbf[0]"]
)
def test_what_is_in_a_string_does_not_count(body: bytes) -> None:
    assert parse_json(body, SMALL) == json.loads(body)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"]" * 500,
        b'"' * 500,
        b'{"a":' * 4 + b"0" + b"}" * 4,
        b'\\"' * 400,
        b"[0]".decode().encode("utf-16"),
        b"[" * 2,
        b"[0]]" + b"[" * 99,
        b"][" * 5,
    ],
)
def test_what_is_not_json_in_utf_8_is_an_error_of_its_value(body: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 -- the text is that of the json module
        parse_json(body, SMALL)


@pytest.mark.parametrize("body", [b'{"a": 1, "a": 1}', b'[{"b": {"a": 1, "c": 2, "\\u0061": 3}}]'])
def test_a_key_that_is_repeated_in_one_object_is_an_error_where_that_matters(body: bytes) -> None:
    parse_json(body, VERIFIED)
    with pytest.raises(RepeatedKey, match="'a' twice"):
        parse_json(body, VERIFIED, unique=True)
    assert parse_json(b'{"a": {"a": 1}}', VERIFIED, unique=True) == {"a": {"a": 1}}


def test_a_form_is_parsed_up_to_the_ceiling() -> None:
    assert parse_form(b"a=1&b=%41&&c", SMALL) == [("a", "1"), ("b", "A"), ("c", "")]
    with pytest.raises(BodyTooLarge, match="more than 5 fields"):
        parse_form(b"&" * 5, SMALL)
    with pytest.raises(BodyTooLarge, match="larger than 100 bytes"):
        parse_form(b"a" * 101, SMALL)


def test_the_largest_message_of_sns_is_within_the_ceiling_of_what_is_not_verified() -> None:
    message = {"Type": "Notification", "Message": '{"a":[' * (256 * 1024 // 6)}

    assert parse_json(json.dumps(message).encode(), UNVERIFIED) == message


@given(st.lists(st.sampled_from([b"%", b"%C3%A9", b"+", b"=", b"&", b"\r\n", b"\n", b"4", b"a", b"_", "é".encode()])))
def test_the_escapes_of_a_form_are_those_of_urls(units: list[bytes]) -> None:
    body = b"".join(units)

    assert parse_form(body, VERIFIED) == parse_qsl(body.decode(), keep_blank_values=True, errors="surrogateescape")


def test_forms_have_the_same_fields_only_if_their_bytes_are_the_same() -> None:
    forms = [b"a=%ff", b"a=\xff", b"a=%fe", b"a=%EF%BF%BD", b"a=%25ff"]

    assert len({tuple(parse_form(form, VERIFIED)) for form in forms}) == 4


def test_decoding_a_large_form_takes_no_more_than_a_few_times_its_size() -> None:
    body = b"payload=" + b"%41" * (1 << 20)

    tracemalloc.start()
    parse_form(body, VERIFIED)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 5 * len(body)
