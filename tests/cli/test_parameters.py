"""Parameters of several commands."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

from hookbot.access.rate_limits import Rate
from hookbot.cli.parameters import (
    ADDRESS,
    DURATION,
    INTERVAL,
    RATE,
    REPLY_WAIT,
    SIZE,
    Directory,
    Moment,
    ago,
    from_now,
    parse_header,
    parse_option,
    read_headers,
    read_input,
    with_options,
)
from hookbot.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("10m", 600),
        ("2h", 7200),
        ("7d", 604800),
        ("0.5s", 0.5),
        ("0", 0),
        (0, 0),
        (0.0, 0),
    ],
)
def test_a_duration_is_seconds(text: str | float, seconds: float) -> None:
    assert DURATION.convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-5", "-5s", "nan", "inf", "1e3", "5 s", "1.5h", "9999999999s", "٣"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        DURATION.convert(text, None, None)


@pytest.mark.parametrize("number", ["7", "0.5", "15", "00", "9999999999", 7, 0.25])
def test_a_number_without_a_unit_is_neither_a_duration_nor_a_size(number: str | float) -> None:
    for kind, example in ((DURATION, "7d"), (INTERVAL, "7d"), (SIZE, "25MiB")):
        with pytest.raises(click.BadParameter, match=f"has a unit, as in .*{example}.*, and '{number}' has none"):
            kind.convert(number, None, None)


@pytest.mark.parametrize("text", ["0", "0s", "0.0", 0])
def test_an_interval_is_more_than_nothing(text: str | int) -> None:
    assert INTERVAL.convert("0.1s", None, None) == 0.1
    with pytest.raises(click.BadParameter, match="more than 0"):
        INTERVAL.convert(text, None, None)


def test_a_sender_waits_for_a_reply_for_a_bounded_time() -> None:
    assert REPLY_WAIT.convert("2.5s", None, None) == 2.5
    for text, reason in (("0", "more than 0"), ("11s", "at most 10s, not 11s")):
        with pytest.raises(click.BadParameter, match=reason):
            REPLY_WAIT.convert(text, None, None)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("512B", 512),
        ("1k", 1024),
        ("1KiB", 1024),
        ("25MiB", 25 << 20),
        ("25MB", 25 << 20),
        ("1g", 1 << 30),
        ("2TiB", 2 << 40),
        (0, 0),
    ],
)
def test_a_size_is_bytes(text: str | int, size: int) -> None:
    assert SIZE.convert(text, None, None) == size


@pytest.mark.parametrize("text", ["", "much", "-1", "1.5GiB", "1 GiB", "1X", "1Bi", "٣", f"{'9' * 16}B"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="not a size"):
        SIZE.convert(text, None, None)


@pytest.mark.parametrize(
    ("other", "text", "seconds"),
    [
        (ago, "10m", 1_700_000_000.5 - 600),
        (from_now, "24h", 1_700_000_000.5 + 86400),
        (float, "1700000000.25", 1_700_000_000.25),
        (float, 1.5, 1.5),
        (ago, "2026-01-02T03:04:05.000001Z", 1_767_323_045.000001),
        (from_now, "2026-01-02t04:04:05+01:00", 1_767_323_045),
    ],
)
def test_a_moment_is_seconds_since_1970(
    monkeypatch: pytest.MonkeyPatch, other: Callable[..., Any] | type[float], text: str | float, seconds: float
) -> None:
    monkeypatch.setattr(time, "time", lambda: 1_700_000_000.5)
    assert Moment("when", other, "not {!r}").convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["", "yesterday", "10", "2026-01-02", "all", "abcdefgh-000000000000001"])
def test_what_is_no_moment_is_refused_with_what_it_should_be(text: str) -> None:
    with pytest.raises(click.BadParameter, match=f"neither this nor that: {text!r}"):
        Moment("when", ago, "neither this nor that: {!r}").convert(text, None, None)


def test_headers_are_given_one_by_one_or_in_files(tmp_path: Path) -> None:
    (tmp_path / "headers").write_bytes(b"X-B: \xfc\n\nX-C:3\n")
    assert parse_header(" X-A :  1:2 ") == ("X-A", "1:2")
    assert read_headers(["X-A: 1", f"@{tmp_path}/headers"]) == (("X-A", "1"), ("X-B", "\xfc"), ("X-C", "3"))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be", "utf-32"])
def test_a_file_of_headers_is_read_as_it_is_meant(tmp_path: Path, encoding: str) -> None:
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    (tmp_path / "headers").write_bytes(f"{mark}X-A: ü\r\n\u200bX-B:\xa02\u200b\xa0\r".encode(encoding))
    utf8 = "ü".encode().decode("latin-1")
    assert read_headers([f"@{tmp_path}/headers", "X-C: 3\ufeff\r\n"]) == (("X-A", utf8), ("X-B", "2"), ("X-C", "3"))


def test_a_header_with_what_cannot_be_seen_is_refused_without_its_value(tmp_path: Path) -> None:
    (tmp_path / "headers").write_text("A: 1\nAuthorization: s3c\u200bret\n")
    for given in (f"@{tmp_path}/headers", "Authorization: s3c\u200bret"):
        with pytest.raises(ConfigError, match=r"U\+200B ZERO WIDTH SPACE") as refused:
            read_headers([given])
        assert "s3c" not in str(refused.value)


@pytest.mark.parametrize("text", ["", "nonsense", ": x", " : x"])
def test_what_is_no_header_is_shown_only_where_it_may_be(text: str) -> None:
    with pytest.raises(ConfigError, match=f"^a header must be 'Name: value', not {text!r}$"):
        parse_header(text)
    with pytest.raises(ConfigError, match=r"^a header must be 'Name: value'$"):
        read_headers([text])


def test_a_file_of_headers_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere cannot be read: No such file"):
        read_headers([f"@{tmp_path}/nowhere"])


@pytest.mark.parametrize(
    ("text", "option"),
    [
        ("a=1", ("a", 1)),
        ("a = [1, 2]", ("a", [1, 2])),
        ("a=b=c", ("a", "b=c")),
        ("a='b'", ("a", "b")),
        ("a=", ("a", "")),
    ],
)
def test_the_value_of_an_option_is_toml_or_text(text: str, option: tuple[Any, ...]) -> None:
    assert parse_option(text) == option


def test_an_option_has_a_value() -> None:
    with pytest.raises(ConfigError, match=r"^an option must be NAME=VALUE, not 'a'$"):
        parse_option("a")


def test_a_parsed_value_is_parsed_once_and_its_error_is_one_of_usage() -> None:
    assert RATE.convert("5/m", None, None) == Rate(5, 60)
    assert RATE.convert(Rate(5, 60), None, None) == Rate(5, 60)
    with pytest.raises(click.BadParameter, match="'5/d'"):
        RATE.convert("5/d", None, None)


def test_an_address_is_checked_and_kept_as_it_is_written() -> None:
    assert ADDRESS.convert("localhost:80", None, None) == "localhost:80"
    with pytest.raises(click.BadParameter, match="8080"):
        ADDRESS.convert("8080", None, None)


@pytest.mark.parametrize("text", ["/a b", "data", '"/a b"', "“data”"])
def test_a_directory_is_a_path_without_quotation_marks(text: str) -> None:
    assert Directory().convert(text, None, None) == Path(text.strip('"“”'))


@pytest.mark.parametrize("text", ["~/data", "~", "$HOME/data", "${HOME}/data", "%APPDATA%\\data", '"~/data"'])
def test_a_directory_that_only_a_shell_knows_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="only a shell replaces"):
        Directory().convert(text, None, None)


def test_several_options_are_shown_in_their_order() -> None:
    @click.command()
    @with_options(click.option("--one"), click.option("--two"))
    def command(one: str, two: str) -> None: ...

    assert [option.name for option in command.params] == ["one", "two"]


def test_a_file_is_read_to_its_end_unless_no_hub_would_store_it(tmp_path: Path) -> None:
    size = 3 << 20
    (tmp_path / "body").write_bytes(b"x" * size)
    with (tmp_path / "body").open("rb") as file:
        assert len(read_input(file, size)) == size
    with open("/dev/zero", "rb") as file, pytest.raises(ConfigError, match=r"^/dev/zero has more than 3 MiB"):
        read_input(file, size)
