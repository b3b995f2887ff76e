"""Starts of subscriptions, in each of their spellings."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookbot.errors import Refused
from hookbot.protocol.message import format_id
from hookbot.protocol.since import (
    ACCEPTED,
    AfterId,
    FromOldest,
    SinceTime,
    format_duration,
    parse_duration,
    parse_since,
)
from support.messages import EPOCHS

NOW_US = 1_700_000_000_000_000
GRAMMAR = st.one_of(
    st.just("all"),
    st.from_regex(r"[0-9]{1,9}[smhd]", fullmatch=True),
    st.datetimes().map(lambda moment: moment.isoformat() + "Z"),
)


@pytest.mark.parametrize(
    ("text", "since"),
    [
        ("all", FromOldest()),
        ("abcdefgh-000000000000012", AfterId("abcdefgh", 12)),
        ("90s", SinceTime(NOW_US - 90 * 1_000_000)),
        ("10m", SinceTime(NOW_US - 600 * 1_000_000)),
        ("2h", SinceTime(NOW_US - 7200 * 1_000_000)),
        ("7d", SinceTime(NOW_US - 7 * 86400 * 1_000_000)),
        ("0s", SinceTime(NOW_US)),
        ("1970-01-01T00:00:01Z", SinceTime(1_000_000)),
        ("1970-01-01T02:00:00+02:00", SinceTime(0)),
        ("1970-01-01T02:00:01 02:00", SinceTime(1_000_000)),
    ],
)
def test_every_form_is_understood(text: str, since: FromOldest | AfterId | SinceTime) -> None:
    assert parse_since(text, now_us=NOW_US) == since


@pytest.mark.parametrize("text", ["999999999d", "0001-01-01T00:00:00Z"])
def test_longer_ago_than_1970_is_1970(text: str) -> None:
    assert parse_since(text, now_us=NOW_US) == SinceTime(0)


@pytest.mark.parametrize(
    "text",
    ["", "ALL", "now", "-1", "5", "1w", "1.5h", "-5m", "1h30m", "٣m", "9999999999s", "2026-01-02", "x" * 10_000, "7d "],
)
def test_anything_else_is_refused_with_the_accepted_forms(text: str) -> None:
    with pytest.raises(Refused, match=re.escape(ACCEPTED)) as caught:
        parse_since(text, now_us=NOW_US)
    assert len(str(caught.value)) < 250


@given(EPOCHS, st.integers(0, 10**15 - 1))
def test_an_id_is_never_taken_for_a_time(epoch: str, position: int) -> None:
    assert parse_since(format_id(epoch, position), now_us=NOW_US) == AfterId(epoch, position)


@given(GRAMMAR)
def test_a_time_is_never_taken_for_an_id(text: str) -> None:
    assert not isinstance(parse_since(text, now_us=NOW_US), AfterId)


@given(st.text(max_size=30))
def test_whatever_is_asked_for_is_a_place_to_start_or_refused(text: str) -> None:
    try:
        since = parse_since(text, now_us=NOW_US)
    except Refused:
        return
    assert not isinstance(since, SinceTime) or 0 <= since.time_us < 1 << 63


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("10m", 600), ("2h", 7200), ("7d", 604800)])
def test_a_duration_is_a_number_and_a_unit(text: str, seconds: int) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0d"), (59, "59s"), (60, "1m"), (5400, "90m"), (7200, "2h"), (86_400, "1d"), (90_000, "25h")],
)
def test_seconds_are_written_as_the_shortest_duration(seconds: int, text: str) -> None:
    assert format_duration(seconds) == text
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "5", "5 s", "5S", "5ms", "+5s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        parse_duration(text)
