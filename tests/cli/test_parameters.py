"""What options of several commands have in common."""

import click
import pytest

from hookbot.cli.parameters import DURATION, INTERVAL, SIZE


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("10m", 600),
        ("2h", 7200),
        ("7d", 604800),
        ("15", 15),
        ("0.5", 0.5),
        ("0", 0),
        (15, 15),
        (0.25, 0.25),
    ],
)
def test_a_duration_is_seconds(text, seconds):
    assert DURATION.convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-5", "-5s", "nan", "inf", "1e3", "5 s", "1.5h", "9999999999", "٣"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(click.BadParameter):
        DURATION.convert(text, None, None)


@pytest.mark.parametrize("text", ["0", "0s", "0.0", 0])
def test_an_interval_is_more_than_nothing(text):
    assert INTERVAL.convert("0.1", None, None) == 0.1
    with pytest.raises(click.BadParameter, match="more than 0"):
        INTERVAL.convert(text, None, None)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("1024", 1024),
        ("512B", 512),
        ("1k", 1024),
        ("1KiB", 1024),
        ("25MiB", 25 << 20),
        ("25MB", 25 << 20),
        ("1g", 1 << 30),
        ("2TiB", 2 << 40),
        (100, 100),
    ],
)
def test_a_size_is_bytes(text, size):
    assert SIZE.convert(text, None, None) == size


@pytest.mark.parametrize("text", ["", "much", "-1", "1.5GiB", "1 GiB", "1X", "1Bi", "٣", "9" * 16])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(click.BadParameter, match="not a size"):
        SIZE.convert(text, None, None)
