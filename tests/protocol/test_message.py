"""Messages, their ids and times, the envelope, and JSON."""

import json
from base64 import b64encode
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookbot.protocol.envelope import encode_go_json, encode_json, from_envelope, to_envelope
from hookbot.protocol.message import (
    Draft,
    Message,
    Verified,
    format_id,
    format_time,
    parse_id,
    parse_time,
    wants_metadata,
)

LATIN = st.text(st.characters(max_codepoint=255), max_size=20)
EPOCHS = st.text("abcdefghijklmnopqrstuvwxyz", min_size=8, max_size=8)
POSITIONS = st.integers(0, 10**15 - 1)
TIMES = st.integers(0, 253402300799_999999)
IDS = st.builds(format_id, EPOCHS, POSITIONS)
MESSAGES = st.builds(
    Message,
    topic=st.text(st.characters(exclude_categories=["Cs"])),
    body=st.one_of(st.binary(), st.text().map(lambda text: text.encode("utf-8", "surrogatepass"))),
    headers=st.lists(st.tuples(LATIN, LATIN), max_size=4).map(tuple),
    query=LATIN,
    verified=st.none() | st.builds(Verified, st.text(), st.text(), st.none() | st.floats(0, 1e12)),
    hops=st.lists(st.text(min_size=1), max_size=3).map(tuple),
    duplicate_of=st.none() | IDS,
    id=IDS,
    time_us=TIMES,
    redelivered=st.booleans(),
)
MESSAGE = Message(
    topic="github.com/repo/acme/app",
    body=b'{"ref":"x"}',
    headers=(("Content-Type", "application/json"), ("X-GitHub-Event", "push"), ("x-github-event", "again")),
    query="extra-metadata=github",
    id=format_id("abcdefgh", 7),
    time_us=1767323045_678901,
)


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
            verified=Verified("github", "0", 1.5),
            hops=("github",),
            duplicate_of="abcdefgh-000000000000001",
            redelivered=True,
        )
    )

    assert "body" not in envelope
    assert envelope["body_base64"] == "/wA="
    assert envelope["verified"] == {"provider": "github", "key": "0", "signed_at": 1.5}
    assert envelope["hops"] == ("github",)
    assert envelope["duplicate_of"] == "abcdefgh-000000000000001"
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
        {"verified": "github"},
        {"hops": [1]},
        {"duplicate_of": 1},
    ],
)
def test_what_is_no_envelope_is_refused(change: dict[str, Any]) -> None:
    envelope = {name: value for name, value in {**to_envelope(MESSAGE), **change}.items() if value is not None}
    with pytest.raises(ValueError, match="not an envelope"):
        from_envelope(envelope)


@pytest.mark.parametrize("envelope", [[], "text", None, 5])
def test_what_is_no_object_is_refused(envelope: list[Any] | str | int | None) -> None:
    with pytest.raises(ValueError, match="not an envelope"):
        from_envelope(envelope)


def test_the_first_header_of_a_name_is_found_in_any_case() -> None:
    assert MESSAGE.header("X-GITHUB-EVENT") == "push"
    assert MESSAGE.header("X-Other") is None


def test_the_body_can_be_read_as_json() -> None:
    assert MESSAGE.json() == {"ref": "x"}
    with pytest.raises(json.JSONDecodeError):
        replace(MESSAGE, body=b"ref=x").json()


def test_a_message_knows_when_it_was_stored_and_where() -> None:
    assert MESSAGE.time == datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)
    assert MESSAGE.position == 7


def test_whatever_a_message_holds_counts_for_its_size() -> None:
    empty = Draft("t").size
    assert Draft("t", b"x" * 1000).size == empty + 1000
    assert Draft("t", headers=(("a" * 100, "b" * 100),)).size >= empty + 200
    assert Draft("t", query="q" * 100).size == empty + 100
    assert Message("t", b"x" * 1000).size == Draft("t", b"x" * 1000).size


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("extra-metadata=github", True),
        ("a=b&extra-metadata=github", True),
        ("extra%2Dmetadata=github", False),
        ("extra-metadata=gitlab", False),
        ("note=extra-metadata", False),
        ("", False),
    ],
)
def test_a_message_can_wish_to_be_wrapped(query: str, wanted: bool) -> None:
    assert wants_metadata(query) == wanted
    assert Message("t", query=query).wrapped == wanted


@given(EPOCHS, POSITIONS)
def test_an_id_is_short_and_opaque_and_says_which_log_it_is_of(epoch: str, position: int) -> None:
    text = format_id(epoch, position)
    assert parse_id(text) == (epoch, position)
    assert len(text) <= 64
    assert set(text) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._~-")


@given(EPOCHS, POSITIONS, POSITIONS)
def test_ids_of_one_log_sort_as_text(epoch: str, one: int, other: int) -> None:
    assert (format_id(epoch, one) < format_id(epoch, other)) == (one < other)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "abcdefgh",
        "abcdefgh-",
        "abcdefgh-1",
        "abcdefgh-0000000000000001",
        "ABCDEFGH-000000000000001",
        "abcdefgh-00000000000000١",
        " abcdefgh-000000000000001",
        "abcdefgh-000000000000001\n",
        "7d",
        "all",
    ],
)
def test_what_is_no_id_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a message id"):
        parse_id(text)


@given(TIMES)
def test_a_time_is_read_as_it_was_written(time_us: int) -> None:
    assert parse_time(format_time(time_us)) == time_us


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:01.5Z", 1.5),
        ("1970-01-01T00:00:00.0000019Z", 1e-6),
        ("1970-01-01T02:00:00+01:30", 1800),
        ("1969-12-31T23:59:59-00:00", -1),
        ("1970-01-01t00:00:01z", 1),
    ],
)
def test_rfc_3339_is_understood(text: str, seconds: float) -> None:
    assert parse_time(text) == seconds * 1_000_000


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-02",
        "2026-01-02T03:04:05",
        "2026-01-02 03:04:05Z",
        "2026-01-02T03:04Z",
        "20260102T030405Z",
        "2026-W01-1T03:04:05Z",
        "2026-01-02T03:04:05,5Z",
        "2026-01-02T03:04:05+01",
        "2026-02-30T03:04:05Z",
        "2026-01-02T25:04:05Z",
        "2026-01-02T03:04:05+99:99",
        "２026-01-02T03:04:05Z",
        "2026-01-02T03:04:05Z\n",
        "now",
        "",
    ],
)
def test_other_spellings_of_a_time_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not an RFC 3339 time"):
        parse_time(text)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists))
def test_json_is_one_line_of_ascii_for_every_line_reader(value: list[Any] | bool | str | None) -> None:
    text = encode_json([value, "\x85\u2028\u2029\n"])
    assert text.isascii()
    assert len(text.splitlines()) == 1
    assert json.loads(text) == [value, "\x85\u2028\u2029\n"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"b": "1", "a": "2"}, '{"a":"2","b":"1"}'),
        ({"k": "<a href='x'>&amp;</a>"}, r"""{"k":"\u003ca href='x'\u003e\u0026amp;\u003c/a\u003e"}"""),
        ({"k": 'quote " and \\ and /'}, r'{"k":"quote \" and \\ and /"}'),
        ({"k": "tab\tnew\nline\rnul\0"}, r'{"k":"tab\tnew\nline\rnul\u0000"}'),
        ({"k": "é \u2028\u2029 😀 \x7f"}, '{"k":"é \\u2028\\u2029 😀 \x7f"}'),
        ({"k": b"a\xff\xe2\x82b".decode("utf-8", "surrogateescape")}, r'{"k":"a\ufffd\ufffd\ufffdb"}'),
        ("<", r'"\u003c"'),
    ],
)
def test_go_writes_json_in_its_own_way(value: dict[str, str] | str, text: str) -> None:
    assert encode_go_json(value) == text


@given(st.dictionaries(st.text(), st.text()))
def test_gos_json_is_json(fields: dict[str, str]) -> None:
    text = encode_go_json(fields)
    assert not set(text) & set("<>&\u2028\u2029")
    assert json.loads(text.encode()) == fields


def test_a_body_that_is_no_text_is_base64() -> None:
    body = bytes(range(256))
    assert to_envelope(Message("t", body, id="x"))["body_base64"] == b64encode(body).decode()
