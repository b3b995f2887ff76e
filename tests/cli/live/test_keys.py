"""Keys, as terminals send them."""

import pytest

from hookbot.cli.live.keys import Keys


@pytest.mark.parametrize(
    ("sent", "keys"),
    [
        (b"q", ["q"]),
        (b"rR/", ["r", "R", "/"]),
        ("ü€😀".encode(), ["ü", "€", "😀"]),
        (b"\r\n", ["enter", "enter"]),
        (b"\x7f\x08\x15\x0c", ["backspace", "backspace", "clear", "redraw"]),
        (b"\x1b[A\x1b[B\x1b[C\x1b[D", ["up", "down", "right", "left"]),
        (b"\x1bOA\x1bOB\x1bOH\x1bOF\x1bOM", ["up", "down", "home", "end", "enter"]),
        (b"\x1b[1~\x1b[4~\x1b[5~\x1b[6~\x1b[7~\x1b[8~", ["home", "end", "page up", "page down", "home", "end"]),
        # With Shift, Alt or Control.
        (b"\x1b[1;5A\x1b[5;2~", ["up", "page up"]),
        # Keys without a meaning: F5, Delete, Tab, and bytes that are not UTF-8.
        (b"\x1b[15~\x1b[3~\t\x1bOP\xff\x00a", ["a"]),
        # Escape, and a key after it.
        (b"\x1bq", ["escape", "q"]),
    ],
)
def test_keys_are_told_apart(sent: bytes, keys: list[str]) -> None:
    assert Keys().feed(sent) == keys


@pytest.mark.parametrize("sent", [b"\x1b[A", b"\x1bOA", b"\x1b[1;5A", "€".encode()])
def test_a_key_may_come_byte_by_byte(sent: bytes) -> None:
    keys = Keys()
    found = [key for byte in sent for key in keys.feed(bytes([byte]))]
    assert found in (["up"], ["€"])
    assert not keys.is_unfinished


def test_the_escape_key_is_the_beginning_of_others_until_nothing_follows() -> None:
    keys = Keys()
    assert keys.feed(b"a\x1b") == ["a"]
    assert keys.is_unfinished
    assert keys.finish() == ["escape"]
    assert not keys.is_unfinished
    assert keys.finish() == []


def test_a_sequence_without_an_end_is_not_kept() -> None:
    keys = Keys()
    keys.feed(b"\x1b[" + b"0" * 100)
    assert not keys.is_unfinished
