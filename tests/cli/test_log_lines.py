"""Log lines, as people see them."""

import io
import json
import logging
import re
from contextlib import redirect_stderr

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookbot.cli.log_lines import log_to_stderr
from hookbot.delivery.outcome import Attempt, Outcome
from hookbot.protocol.message import Message, format_id
from hookbot.terminal import one_line
from support.commands import kept_logging, on_terminal
from support.pages import blocks, comparable, lines_printed, page


def test_a_log_line_forges_no_other_and_does_nothing_to_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with kept_logging():
        log_to_stderr()
        try:
            raise ValueError("\x1b[2J")
        except ValueError:
            logging.getLogger("hookbot.handling").exception("gone: %s", "a\nb\x1b]0;c\x07")

    assert "\x1b" not in (shown := capsys.readouterr().err)
    assert shown.splitlines()[0].endswith("gone: a\\nb\\x1b]0;c\\x07")


def test_log_lines_have_the_time_of_day_and_quiet_ones_are_warnings(capsys: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger("hookbot.handling")
    with kept_logging():
        for quiet in (False, True):
            log_to_stderr(quiet=quiet)
            logger.info("done")
            logger.warning("trying again")
        logging.getLogger("httpx").info("a request of another library")

    lines = capsys.readouterr().err.splitlines()

    assert [line[9:] for line in lines] == ["done", "trying again", "trying again"]
    assert all(re.fullmatch(r"[0-9]{2}:[0-9]{2}:[0-9]{2} ", line[:9]) for line in lines)


@pytest.mark.parametrize("colours", [True, False])
def test_on_a_terminal_a_log_line_erases_a_progress_bar_and_warnings_are_yellow(
    monkeypatch: pytest.MonkeyPatch, colours: bool
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    if not colours:
        monkeypatch.setenv("NO_COLOR", "1")
    with kept_logging(), on_terminal(monkeypatch, "stderr") as shown:
        log_to_stderr()
        logging.getLogger("hookbot.handling").info("done")
        logging.getLogger("hookbot.handling").warning("trying again")

    usual, warning, _ = shown.decode().split("\r\n")

    assert usual.startswith("\r\x1b[K")
    assert usual.endswith(" done")
    assert warning.startswith("\r\x1b[K\x1b[33m" if colours else "\r\x1b[K")
    assert ("\x1b[33m" in warning) is colours


# -- attempts

OK = Outcome("200 OK from http://t/ in 43 ms", "200", 0.043)
BROKEN = Outcome("http://t/ answered 500 because", "500", 1.25)


def make(body: bytes = b"{}", topic: str = "stripe", number: int = 1) -> Message:
    return Message(topic, body, id=format_id("kqzvtmwx", number))


def tell(*attempts: Attempt) -> None:
    with kept_logging():
        log_to_stderr()
        for attempt in attempts:
            level = logging.WARNING if attempt.has_failed else logging.INFO
            logging.getLogger("hookbot.handling").log(level, "%s", attempt, extra={"attempt": attempt})


def columns(capsys: pytest.CaptureFixture[str]) -> list[list[str]]:
    return [re.split(" {2,}", line) for line in capsys.readouterr().err.splitlines()]


def test_an_attempt_is_a_row_of_columns(capsys: pytest.CaptureFixture[str]) -> None:
    message = make(b'{"type":"invoice.paid"}' + b" " * 7000)

    tell(Attempt(message, 1, OK))

    [[time, *others]] = columns(capsys)
    assert re.fullmatch("[0-9]{2}:[0-9]{2}:[0-9]{2}", time)
    assert others == ["invoice.paid", "stripe", "200", "43 ms", "7.0 kB", message.id]


def test_rows_are_those_that_the_page_shows(capsys: pytest.CaptureFixture[str]) -> None:
    [shown] = blocks(page("docs/commands.md").partition("### Lines about messages")[2].partition("\n### ")[0], "text")
    refused = Outcome("http://localhost:3000/webhook answered 500 Internal Server Error", "500", 0.012)
    event = b'{"type":"invoice.paid"}'

    tell(
        Attempt(make(event.ljust(7200), number=42), 1, OK),
        Attempt(make(event.ljust(6900), number=43), 1, refused, retry_in_s=0.7, behind=3),
    )

    assert lines_printed(capsys.readouterr().err) == {comparable(line) for line in shown.splitlines()}


@given(
    st.text(max_size=40),
    st.binary(max_size=60) | st.text(max_size=30).map(lambda type: json.dumps({"type": type}).encode()),
    st.text(max_size=40),
    st.text(max_size=90),
    st.floats(0, 1e6),
)
def test_whatever_an_attempt_is_about_makes_one_row(
    topic: str, body: bytes, result: str, line: str, seconds: float
) -> None:
    attempt = Attempt(Message(topic, body, id=make().id), 1, Outcome(line, result, seconds), retry_in_s=1)
    errors = io.StringIO()

    with redirect_stderr(errors):
        tell(attempt)

    [row] = errors.getvalue().split("\n")[:-1]
    assert one_line(row) == row
    assert len(re.split(" {2,}", row, maxsplit=7)) == 8


def test_a_failure_says_why_and_what_comes_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    tell(
        Attempt(make(), 1, BROKEN, retry_in_s=1, behind=3),
        Attempt(make(), 2, Outcome("cannot post to http://t/"), kept_in="lost.jsonl"),
    )

    (_, *retried), (_, *given_up) = columns(capsys)

    assert retried[:5] == ["-", "stripe", "500", "1.2 s", "2 B"]
    assert retried[6] == "http://t/ answered 500 because; trying again in 1.0 s; 3 wait behind it"
    assert given_up[2:4] == ["-", "-"]
    assert given_up[6] == "cannot post to http://t/; given up after 2 attempts and kept in lost.jsonl"


def test_what_has_no_result_is_told_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    tell(Attempt(make(), 1, Outcome("published as x")))

    assert columns(capsys)[0][-1] == "published as x"


def test_rows_are_aligned_as_soon_as_the_widest_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    tell(*(Attempt(make(topic=topic), 1, OK) for topic in ("a/long/topic", "b", "x" * 40, "c")))

    ends = [line.index("  200  ") for line in capsys.readouterr().err.splitlines()]

    assert ends[0] == ends[1] < ends[3] < ends[2]


def test_senders_and_targets_neither_forge_columns_nor_control_the_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    message = make(b'{"type":"paid  fake\\u001b[2J\\n"}', topic="a  b\x1b[1m")

    tell(Attempt(message, 1, Outcome("said \x1b]0;x\x07\nforged", "500"), retry_in_s=1))

    shown = capsys.readouterr().err
    assert "\x1b" not in shown
    [row] = [re.split(" {2,}", line) for line in shown.splitlines()]
    assert row[1:4] == ["paid fake\\x1b[2J\\n", "a b\\x1b[1m", "500"]
    assert len(row) == 8


@pytest.mark.parametrize("colours", [True, False])
def test_on_a_terminal_the_columns_have_colours_of_their_own(monkeypatch: pytest.MonkeyPatch, colours: bool) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    if not colours:
        monkeypatch.setenv("NO_COLOR", "1")
    with on_terminal(monkeypatch, "stderr") as shown:
        tell(Attempt(make(), 1, OK), Attempt(make(), 1, BROKEN, 1), Attempt(make(), 1, BROKEN, kept_in="x"))

    good, retried, given_up, _ = shown.decode().split("\r\n")

    assert (click.style("200", fg="green") in good) is colours
    assert (click.style("500", fg="red") in retried) is colours
    assert (click.style(f"{BROKEN.line}; trying again in 1.0 s", fg="yellow") in retried) is colours
    assert (click.style(f"{BROKEN.line}; given up after 1 attempt and kept in x", fg="red") in given_up) is colours
    assert all(("\x1b[" in line.removeprefix("\r\x1b[K")) is colours for line in (good, retried, given_up))


def test_of_a_response_that_is_handed_back_that_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    message = Message("t", b"{}", id="abcdefgh-000000000000001")
    with kept_logging():
        log_to_stderr()
        for outcome in (Outcome("404 from x", "404", 0.1), Outcome("404 from x", "404", 0.1, handed_back=True)):
            logging.getLogger("hookbot.delivery").info("", extra={"attempt": Attempt(message, 1, outcome)})

    done, handed_back = capsys.readouterr().err.splitlines()
    assert handed_back == f"{done}  handed back to the sender"
