"""The envelope, whole and in slices."""

import json
from base64 import b64encode
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookbot.protocol.envelope import (
    LARGE_BODY,
    SLICE_BYTES,
    base64_field,
    base64_in_slices,
    body_in_slices,
    encode_envelope,
    encode_json,
    encode_texts,
    envelope_around,
    from_envelope,
    join_object,
    to_envelope,
)
from hookbot.protocol.message import Message, Verified, format_id
from support.messages import EPOCHS, MESSAGE, POSITIONS

BODIES = st.binary() | st.text().map(str.encode)
LATIN = st.text(st.characters(max_codepoint=255), max_size=20)
IDS = st.builds(format_id, EPOCHS, POSITIONS)
MESSAGES = st.builds(
    Message,
    topic=st.text(st.characters(exclude_categories=["Cs"])),
    body=st.one_of(st.binary(), st.text().map(lambda text: text.encode("utf-8", "surrogatepass"))),
    headers=st.lists(st.tuples(LATIN, LATIN), max_size=4).map(tuple),
    query=LATIN,
    verified=st.none()
    | st.builds(Verified, st.text(), st.text(), st.none() | st.floats(0, 1e12), st.none() | st.text()),
    hops=st.lists(st.text(min_size=1), max_size=3).map(tuple),
    duplicate_of=st.none() | IDS,
    replay_of=st.none() | IDS,
    routed_from=st.none() | IDS,
    id=IDS,
    time_us=st.integers(0, 253402300799_999999),
    redelivered=st.booleans(),
)


# --- the envelope


@given(MESSAGES)
def test_the_envelope_carries_any_message_unharmed(message: Message) -> None:
    sent = json.loads(encode_json(to_envelope(message)))

    received = from_envelope(sent)

    assert received == message
    assert received.redelivered == message.redelivered


def test_the_envelope_looks_as_documented() -> None:
    assert to_envelope(MESSAGE) == {
        "id": "abcdefgh-000000000000007",
        "topic": "github.com/repo/acme/app",
        "time": "2026-01-02T03:04:05.678901Z",
        "headers": MESSAGE.headers,
        "query": "extra-metadata=github",
        "body": '{"ref":"x"}',
    }


def test_the_envelope_says_what_else_is_known() -> None:
    envelope = to_envelope(
        replace(
            MESSAGE,
            body=b"\xff\x00",
            verified=Verified("github", "0", 1.5, "/unsafe/github.com/"),
            hops=("github",),
            duplicate_of="abcdefgh-000000000000001",
            replay_of="abcdefgh-000000000000002",
            routed_from="abcdefgh-000000000000003",
            redelivered=True,
        )
    )

    assert "body" not in envelope
    assert envelope["body_base64"] == "/wA="
    assert envelope["verified"] == {
        "provider": "github",
        "key": "0",
        "signed_at": 1.5,
        "source": "/unsafe/github.com/",
    }
    assert envelope["hops"] == ("github",)
    assert envelope["duplicate_of"] == "abcdefgh-000000000000001"
    assert envelope["replay_of"] == "abcdefgh-000000000000002"
    assert envelope["routed_from"] == "abcdefgh-000000000000003"
    assert envelope["redelivered"] is True


def test_an_envelope_from_a_newer_hub_is_understood() -> None:
    envelope = {**to_envelope(MESSAGE), "weather": "fine", "verified": {"provider": "x", "key": "1", "by": "moon"}}
    assert from_envelope(envelope) == replace(MESSAGE, verified=Verified("x", "1"))


@pytest.mark.parametrize(
    "change",
    [
        {"id": None},
        {"id": 7},
        {"topic": None},
        {"topic": ["foo"]},
        {"time": None},
        {"time": 5},
        {"time": "yesterday"},
        {"headers": None},
        {"headers": [["a"]]},
        {"headers": [["a", 1]]},
        {"headers": [["a", "b", "c"]]},
        {"headers": "abc"},
        {"query": None},
        {"body": None},
        {"body": 5},
        {"body": "\ud800"},
        {"body_base64": "%"},
        {"body_base64": 5},
        {"verified": {"provider": "x"}},
        {"verified": {"provider": "x", "key": "0", "source": 5}},
        {"verified": "github"},
        {"hops": [1]},
        {"duplicate_of": 1},
        {"id": "\x1b]0;x\x07"},
        {"id": "x" * 65},
        {"id": ["x"]},
        {"duplicate_of": "a b"},
        {"replay_of": 1},
        {"routed_from": "a b"},
        {"topic": "\ud800"},
        {"query": "\udfff"},
        {"headers": [["\ud800", "x"]]},
        {"time": "1969-12-31T23:59:59Z"},
        {"time": "0001-01-01T00:00:00+23:59"},
        {"time": "9999-12-31T23:59:59-23:59"},
        {"time": ["2026-01-02T03:04:05Z"]},
        {"verified": {"provider": "x", "key": "0", "signed_at": float("nan")}},
        {"verified": {"provider": "x", "key": "0", "signed_at": 10**400}},
        {"verified": {"provider": "x", "key": "0", "signed_at": "now"}},
    ],
)
def test_what_is_no_envelope_is_refused(change: dict[str, Any]) -> None:
    envelope = {name: value for name, value in {**to_envelope(MESSAGE), **change}.items() if value is not None}
    with pytest.raises(ValueError, match="not an envelope"):
        from_envelope(envelope)


@pytest.mark.parametrize("envelope", [[], "text", None, 5])
def test_what_is_no_object_is_refused(envelope: Any) -> None:
    with pytest.raises(ValueError, match="not an envelope"):
        from_envelope(envelope)


# --- JSON, and slices of it


@pytest.mark.slow
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists))
def test_json_is_one_line_of_ascii_for_every_line_reader(value: list[Any] | bool | str | None) -> None:
    text = encode_json([value, "\x85\u2028\u2029\n"])
    assert text.isascii()
    assert len(text.splitlines()) == 1
    assert json.loads(text) == [value, "\x85\u2028\u2029\n"]


@given(st.lists(st.text()))
def test_texts_are_encoded_as_any_other_value(texts: list[str]) -> None:
    assert encode_texts(texts) == encode_json(texts)


def test_a_body_that_is_no_text_is_base64() -> None:
    body = bytes(range(256))
    assert to_envelope(Message("t", body, id="x"))["body_base64"] == b64encode(body).decode()


def test_base64_of_a_slice_has_no_padding() -> None:
    assert SLICE_BYTES % 3 == 0


@given(st.text())
def test_text_is_what_json_makes_of_it(text: str) -> None:
    assert join_object(body_in_slices(text.encode(), slice_bytes=3)) == encode_json({"body": text}).encode()


@given(BODIES)
def test_a_body_is_text_or_base64_and_never_harmed(body: bytes) -> None:
    fields = json.loads(join_object(body_in_slices(body, slice_bytes=3)))
    try:
        assert fields == {"body": body.decode()}
    except UnicodeDecodeError:
        assert fields == {"body_base64": b64encode(body).decode()}


@pytest.mark.parametrize("body", [b"abc\xff", b"abcdef\xe2\x82", b"\xe2\x82", b"ab\xf0\x9f\x98", b"abcde\xed\xa0\x80"])
def test_what_is_broken_in_the_last_slice_or_between_two_is_no_text(body: bytes) -> None:
    assert list(body_in_slices(body, slice_bytes=3)) == ["body_base64"]


@given(st.binary())
def test_base64_is_the_same_as_in_one_go(body: bytes) -> None:
    assert b"".join(base64_in_slices(body, slice_bytes=3)) == b'"' + b64encode(body) + b'"'


@given(
    st.dictionaries(st.text(), st.text() | st.none() | st.lists(st.text()), min_size=1),
    st.text(),
    st.text(),
)
def test_an_object_of_slices_and_other_values_is_encoded_as_a_whole(
    fields: dict[str, Any], name: str, text: str
) -> None:
    fields = {name: "", **fields}
    sliced = {**fields, name: base64_in_slices(text.encode(), slice_bytes=3)}
    whole = {**fields, name: b64encode(text.encode()).decode()}
    assert join_object(sliced) == encode_json(whole).encode()


@given(MESSAGES)
def test_an_envelope_in_slices_is_the_same_text(message: Message) -> None:
    sliced = join_object(envelope_around(message, body_in_slices(message.body, slice_bytes=3)))

    assert sliced.decode("ascii") == encode_json(to_envelope(message))


@pytest.mark.parametrize("size", [LARGE_BODY, LARGE_BODY + 1])
@pytest.mark.parametrize("byte", [b"a", b"\n", b"\xff"])
def test_a_large_body_survives_its_envelope(byte: bytes, size: int) -> None:
    message = replace(MESSAGE, body=byte * size)

    envelope = json.loads(encode_envelope(message, type="message"))

    assert list(envelope)[:2] == ["type", "id"]
    assert from_envelope(envelope) == message


@pytest.mark.parametrize(
    ("text", "field"),
    [
        pytest.param("\0", "body_base64", id="6 bytes for one"),
        pytest.param("ж", "body_base64", id="6 bytes for two"),
        pytest.param("\U0001f600", "body", id="12 bytes for four with plain text"),
        pytest.param("語", "body", id="6 bytes for three"),
        pytest.param('"', "body", id="2 bytes for one"),
    ],
)
def test_a_large_body_is_text_only_if_that_is_at_most_twice_as_long(text: str, field: str) -> None:
    body = text.encode() * (LARGE_BODY + 1) + (b"" if field == "body_base64" else b"a" * 4 * (LARGE_BODY + 1))
    message = replace(MESSAGE, body=body)

    for envelope in (json.loads(encode_envelope(message)), to_envelope(message)):
        assert ("body" in envelope, "body_base64" in envelope) == (field == "body", field == "body_base64")
        assert from_envelope(envelope) == message


def test_a_body_that_is_not_large_is_text_however_long_that_is() -> None:
    message = replace(MESSAGE, body=bytes(LARGE_BODY))

    assert json.loads(encode_envelope(message))["body"] == to_envelope(message)["body"] == "\0" * LARGE_BODY


@pytest.mark.parametrize("size", [LARGE_BODY, LARGE_BODY + 1])
def test_base64_of_a_large_body_is_the_same_text(size: int) -> None:
    whole = b64encode(b"x" * size)

    assert join_object({"x": base64_field(b"x" * size)}) == b'{"x":"' + whole + b'"}'
