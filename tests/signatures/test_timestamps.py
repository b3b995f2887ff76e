"""Timestamps of signatures, in each unit, and their age."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookbot.errors import BadSignature
from hookbot.signatures.timestamps import UNITS, check_fresh, format_timestamp, parse_timestamp

NOW = 1_700_000_000.0


@pytest.mark.parametrize(
    ("text", "unit", "seconds"),
    [
        ("1700000000", "s", NOW),
        ("0", "s", 0),
        ("1700000000500", "ms", NOW + 0.5),
        ("2023-11-14T22:13:20Z", "rfc3339", NOW),
        ("2023-11-14T22:13:20.500Z", "rfc3339", NOW + 0.5),
        ("2023-11-14T22:13:20.123456789Z", "rfc3339", NOW + 0.123456),
        ("2023-11-14T23:13:20+01:00", "rfc3339", NOW),
        ("0001-01-01T00:00:00+23:59", "rfc3339", -62135683140),
        ("9999-12-31T23:59:59-23:59", "rfc3339", 253402387139),
    ],
)
def test_a_timestamp_is_read_in_its_unit(text: str, unit: str, seconds: float) -> None:
    assert parse_timestamp(text, unit) == pytest.approx(seconds, abs=1e-6)


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        *((text, "s") for text in ("", "abc", "1e9", "-5", "\u0663", "9" * 17, "1.5")),
        *((text, "s") for text in (" 1700000000", "1700000000\n", "0x10", "1_0", "+1700000000", "01700000000", "00")),
        *((text, "ms") for text in ("", "1.5", "2023-11-14T22:13:20Z")),
        *((text, "rfc3339") for text in ("", "1700000000", "2023-11-14", "2023-11-14T22:13:20")),
        *((text, "rfc3339") for text in ("20231114T221320Z", "2023-W46-2T22:13:20Z", "2023-11-14T22Z")),
        *(
            (text, "rfc3339")
            for text in ("2023-11-14T22:13:20,5Z", "2023-11-14T22:13:20+01", "2023-11-14T22:13:20+0100")
        ),
        *((text, "rfc3339") for text in ("2023-11-14 22:13:20Z", "2023-02-30T00:00:00Z", "2023-11-14T22:13:20+24:00")),
    ],
)
def test_a_malformed_timestamp_is_refused(text: str, unit: str) -> None:
    with pytest.raises(BadSignature, match="the timestamp is malformed"):
        parse_timestamp(text, unit)


@pytest.mark.parametrize("unit", UNITS)
@given(ms=st.integers(0, 253402300799_000))
def test_a_timestamp_is_read_as_it_was_written(unit: str, ms: int) -> None:
    written = format_timestamp(ms / 1000, unit)

    assert parse_timestamp(written, unit) == pytest.approx(ms / 1000, abs=1 if unit == "s" else 0.002)


@pytest.mark.parametrize("age_s", [-10, -9.5, 0, 10])
def test_a_request_may_be_as_old_as_allowed_and_as_far_in_the_future(age_s: float) -> None:
    check_fresh(NOW - age_s, now=NOW, max_age=10)


@pytest.mark.parametrize(
    ("age_s", "reason"),
    [
        (11, "signed 11 seconds ago; the limit is 10 seconds"),
        (10.1, "signed 10 seconds ago; the limit is 10 seconds"),
        (-11, "signed 11 seconds in the future; the limit is 10 seconds"),
    ],
)
def test_a_request_that_is_older_or_further_in_the_future_is_refused(age_s: float, reason: str) -> None:
    with pytest.raises(BadSignature, match=reason):
        check_fresh(NOW - age_s, now=NOW, max_age=10)
