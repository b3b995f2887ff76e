"""Messages, as people see them."""

import json
import re
import time
from contextlib import suppress
from typing import Any

import click
import pytest

from hookbot.cli import display as showing
from hookbot.cli.display import age_of, duration_of, for_terminal, show, size_of, table, to_json
from hookbot.protocol.message import MAX_TIME_US, Message, Verified


def make(
    body: bytes = b"", headers: list[tuple[str, str]] | tuple[()] = (), topic: str = "a/b", **fields: Any
) -> Message:
    return Message(topic, body, tuple(headers), id="abcdefgh-000000000000001", time_us=1_700_000_000_000_000, **fields)


def plain(message: Message, headers: tuple[()] | list[str] = ()) -> str:
    return click.unstyle(show(message, headers))


def test_a_message_has_a_heading_and_its_json_in_many_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    message = make(b'{"a":[1,{"b":"\xc3\xbc"}]}', [("X-GitHub-Event", "push")], verified=Verified("github", "0"))
    heading, *body = plain(message).splitlines()
    assert heading.split("  ")[1:] == ["a/b", "push", "20 B", "verified by github", message.id]
    assert json.loads("\n".join(body)) == {"a": [1, {"b": "ü"}]}
    assert len(body) == 8
    assert {line[:4] for line in body} == {"    "}


def test_headers_that_are_asked_for_stand_below_the_heading() -> None:
    shown = plain(make(headers=[("X-A", "1"), ("X-B", "2"), ("x-a", "3")]), ["X-a"])
    assert shown.splitlines()[1:] == ["    X-A: 1", "    x-a: 3"]


NUMBERS = ["  1.10,", "  12345678901234567890.25,", "  1e400,", "  -0"]


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (b"", []),
        (b"plain\ntext\n", ["plain", "text"]),
        (b"a=1&b=2", ["a=1&b=2"]),
        (b"\xff\x00", ["not text: ff 00"]),
        (b"\xff" * 100, ["not text: " + " ".join(["ff"] * 64) + ", ..."]),
        (b"[" * 100_000, None),
        (b"\xed\xa0\x80", ["not text: ed a0 80"]),
        (b"\xef\xbb\xbf[1.10,12345678901234567890.25,1e400,-0]", ["[", *NUMBERS, "]"]),
        (b'{"a":1,"a":{"b":[]}}', ["{", '  "a": 1,', '  "a": {', '    "b": []', "  }", "}"]),
        ('["José"]'.encode("utf-16"), ["[", '  "José"', "]"]),
        (b"[NaN]", ["[NaN]"]),
    ],
)
def test_a_body_is_shown_as_far_as_it_can_be_read(body: bytes, shown: list[str] | None) -> None:
    lines = [line.removeprefix("    ") for line in plain(make(body)).splitlines()[1:]]
    assert shown is None or lines == shown


def test_a_body_is_shown_in_the_charset_that_it_declares() -> None:
    message = make("Grüße".encode("latin-1"), [("Content-Type", "text/plain; charset=ISO-8859-1")])

    assert plain(message).splitlines()[1:] == ["    Grüße"]


@pytest.mark.parametrize("text", ["\x1b[2J", "\x9b2J", "\u202e", "\x07", "\r", "\x00", "\u2028"])
@pytest.mark.parametrize("where", ["body", "json", "topic", "header", "event", "provider"])
def test_nothing_does_anything_to_the_terminal(text: str, where: str) -> None:
    message = {
        "body": lambda: make(text.encode()),
        "json": lambda: make(json.dumps({"a": text}, ensure_ascii=False).encode()),
        "topic": lambda: make(topic=text),
        "header": lambda: make(headers=[("X-A", text)]),
        "provider": lambda: make(verified=Verified(text, "0")),
        "event": lambda: make(json.dumps({"type": text}).encode()),
    }[where]()
    assert text not in plain(message, ["X-A"])


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Etc/GMT+12"])
@pytest.mark.parametrize("time_us", [0, MAX_TIME_US])
def test_the_first_and_the_last_time_are_shown_anywhere(
    monkeypatch: pytest.MonkeyPatch, zone: str, time_us: int
) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert re.match(r"(1969|1970|9999)-", plain(Message("t", time_us=time_us)))
    finally:
        monkeypatch.undo()
        time.tzset()


def test_what_people_write_is_left_alone() -> None:
    text = "Grüße, 你好, 👨\u200d👩\u200d👧"
    assert text in plain(make(text.encode()))


def test_of_a_long_body_the_beginning_is_shown() -> None:
    shown = plain(make(b"x" * (30 << 20)))
    assert len(shown) < showing.SHOWN_CHARS + 500
    assert "more characters; --raw prints them all" in shown


@pytest.mark.parametrize(
    ("message", "event"),
    [
        (make(headers=[("X-Gitlab-Event", "Push Hook")]), "Push Hook"),
        (make(headers=[("Ce-Type", "com.example.x")]), "com.example.x"),
        (make(b'{"type": "invoice.paid"}'), "invoice.paid"),
        (make(b'{"event": {"type": "x"}, "event_type": "y"}'), "x"),
        (make(b'["type"]'), ""),
        (make(b"\xff"), ""),
        (make(b"[" * 100_000), ""),
    ],
)
def test_the_kind_of_event_is_where_its_sender_puts_it(message: Message, event: str) -> None:
    heading = plain(message).splitlines()[0].split("  ")
    assert heading[2] == (event or size_of(len(message.body)))


@pytest.mark.parametrize("body", [b"[" + b"1.5," * 100_000 + b"0]", b'{"a":' * 101 + b"0" + b"}" * 101])
def test_json_that_would_take_long_to_read_is_shown_as_it_is(body: bytes) -> None:
    assert plain(make(body)).splitlines()[1].strip().startswith(body[:200].decode())


@pytest.mark.parametrize(
    ("size", "shown"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (25 << 20, "26.2 MB"), (5_000_000_000, "5.0 GB")]
)
def test_sizes_are_for_people(size: int, shown: str) -> None:
    assert size_of(size) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.4, "0s"), (59.0, "59s"), (60.0, "1m"), (7199.0, "1h"), (86400.0 * 40, "40d")]
)
def test_an_age_is_in_its_largest_unit(seconds: float, shown: str) -> None:
    assert age_of(seconds) == shown


def test_a_table_has_aligned_columns_and_nothing_that_controls_the_terminal() -> None:
    rows: list[dict[str, Any]] = [
        {"name": "a", "topics": ["x/", "y"], "more": 1},
        {"name": "longer", "topics": ["\x1b[2J"]},
    ]
    assert table(("name", "topics"), rows).splitlines() == [
        "NAME    TOPICS",
        "a       x/, y",
        "longer  \\x1b[2J",
    ]
    assert table(("name",), []) == "NAME"


def test_json_is_shown_as_deep_as_it_can_be_read() -> None:
    # As deep as can be read here; how deep that is depends on the version of Python.
    for depth in range(990, 0, -10):
        with suppress(RecursionError):
            deep = json.loads("[" * depth + "]" * depth)
            break
    assert to_json({"a": 1}) == '{\n  "a": 1\n}'
    assert "".join(to_json(deep).split()) == "[" * depth + "]" * depth


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.0004, "0 ms"), (0.043, "43 ms"), (0.9, "900 ms"), (1, "1.0 s"), (75.25, "75.2 s")]
)
def test_short_durations_are_shown_as_people_say_them(seconds: float, shown: str) -> None:
    assert duration_of(seconds) == shown


@pytest.mark.parametrize(("body", "shown"), [(b"a\x1b[31m\xff", "a\\x1b[31m\\xff\n"), (b"a\n", "a\n"), (b"", "\n")])
def test_a_body_does_not_control_the_terminal_and_ends_its_line(body: bytes, shown: str) -> None:
    assert for_terminal(body) == shown
