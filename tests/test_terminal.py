"""Text that is safe to show on a terminal."""

import sys
import unicodedata

import pytest

from hookbot.terminal import MAX_LINE, escaped, one_line


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a b\n\tü", "a b\n\tü"),
        ("\x1b[2J\r", "\\x1b[2J\\r"),
        ("\x9b2J\x7f", "\\x9b2J\\x7f"),
        ("\u202e\u2066\u200f\u061c", "\\u202e\\u2066\\u200f\\u061c"),
        ("a\u200bb\U000e0041", "a\\u200bb\\U000e0041"),
        ("\ud800", "\\ud800"),
        ("👩\u200d🚀", "👩\u200d🚀"),
    ],
)
def test_what_a_terminal_would_obey_is_escaped(text: str, shown: str) -> None:
    assert escaped(text) == shown


def test_no_character_of_control_or_format_is_left() -> None:
    every = "".join(map(chr, range(sys.maxunicode + 1)))
    assert {c for c in escaped(every) if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")} == set(
        "\n\t\u200c\u200d"
    )


def test_a_line_forges_no_other() -> None:
    assert one_line("a\nb\tc\r\x85d\u2028e") == "a\\nb\\tc\\r\\x85d\\u2028e"


def test_of_a_very_long_line_the_beginning_is_shown() -> None:
    assert one_line("x" * (MAX_LINE + 1)) == "x" * MAX_LINE + "..."
    assert one_line("x" * MAX_LINE) == "x" * MAX_LINE
