"""Drafts and messages, their ids and times."""

import json
from dataclasses import FrozenInstanceError, replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookbot.protocol.message import (
    Draft,
    Gap,
    Message,
    Verified,
    format_id,
    format_time,
    parse_id,
    parse_time,
    wall_clock_us,
    wants_metadata,
)
from support.messages import EPOCHS, MESSAGE, POSITIONS

TIMES = st.integers(0, 253402300799_999999)


def test_the_first_header_of_a_name_is_found_in_any_case() -> None:
    assert MESSAGE.header("X-GITHUB-EVENT") == "push"
    assert MESSAGE.header("X-Other") is None


def test_the_body_can_be_read_as_json() -> None:
    assert MESSAGE.json() == {"ref": "x"}
    with pytest.raises(json.JSONDecodeError):
        replace(MESSAGE, body=b"ref=x").json()
    with pytest.raises(ValueError, match="nested too deeply"):
        replace(MESSAGE, body=b"[" * 100_000).json()


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b'"\xe9"', "application/json; charset=ISO-8859-1"),
        ('"é"'.encode("utf-16-le"), ""),
        (b'\xef\xbb\xbf"\xc3\xa9"', "text/plain"),
    ],
)
def test_the_body_is_text_in_the_charset_that_it_is_in(body: bytes, content_type: str) -> None:
    message = Message("t", body, (("content-type", content_type),))

    assert (message.text(), message.json()) == ('"é"', "é")
    assert Message("t", b"\xff").text() is None
    with pytest.raises(json.JSONDecodeError):
        Message("t", b"\xff").json()


def test_a_message_knows_when_it_was_stored_and_where() -> None:
    assert MESSAGE.time == datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)
    assert MESSAGE.position == 7


def test_a_message_is_passed_on_with_all_that_its_sender_sent() -> None:
    verified = Verified("github", "0", None, "/unsafe/github.com/")
    message = Message("/unsafe/t", b"body", (("A", "b"),), "q", verified, ("first",), "x", "y", 7, replay_of="z")

    draft = Draft.passing_on(message, "topic", "q&more", ("first", "second"))

    assert draft == Draft("topic", b"body", (("A", "b"),), "q&more", verified, ("first", "second"), routed_from="y")
    assert draft.size == Draft("topic", b"body", (("A", "b"),), "q&more").size


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


def test_a_gap_ends_just_before_the_first_message_after_it() -> None:
    assert Gap("retention", None, format_id("abcdefgh", 7)).position == 6


def test_the_wall_clock_counts_microseconds_since_1970() -> None:
    before = datetime.now(UTC)

    read = parse_time(format_time(wall_clock_us()))

    assert before.timestamp() * 1e6 - 1 <= read <= datetime.now(UTC).timestamp() * 1e6 + 1


@pytest.mark.parametrize(
    ("draft", "unverified"),
    [
        (Draft("topic"), False),
        (Draft("/unsafe/topic"), True),
        (Draft("/unsafe/topic", verified=Verified("github", "0")), False),
    ],
)
def test_nobody_vouches_for_what_comes_without_a_token_and_a_signature(draft: Draft, unverified: bool) -> None:
    assert draft.unverified is unverified


def test_a_message_of_the_log_equals_one_with_the_same_fields_and_cannot_be_changed() -> None:
    verified = Verified("github", "0")
    stored = Draft("t", b"body", (("A", "b"),), verified=verified).stored("somelogs", 7, 5, None)
    other = Message("t", b"body", (("A", "b"),), verified=verified, id=format_id("somelogs", 7), time_us=5)

    assert stored == other
    assert (hash(stored), stored.size, stored.position) == (hash(other), other.size, other.position)
    with pytest.raises(FrozenInstanceError):
        stored.topic = "another"  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        verified.key = "1"  # type: ignore[misc]
