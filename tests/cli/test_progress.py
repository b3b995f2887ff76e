import signal
from collections.abc import Mapping
from typing import Any

import click
import pytest

from hookbot.cli.progress import RequestProgress, Selected, messages
from hookbot.errors import Lost, Unavailable


class ScriptedAsk:
    """Answers with lines, and breaks off if one of them is None."""

    def __init__(self, *lines: Mapping[str, Any] | None) -> None:
        self._lines = lines

    def lines(self, take: Any, *words: str, **query: str) -> None:
        for line in self._lines:
            if line is None:
                raise Lost("the response broke off in the middle")
            take(line)


def progress_of(*lines: Mapping[str, Any] | None) -> RequestProgress:
    progress = RequestProgress("Doing")
    progress.of(ScriptedAsk(*lines), "POST", "/path")  # type: ignore[arg-type]
    return progress


def test_numbers_are_texts() -> None:
    assert [messages(number) for number in (0, 1, 1234)] == ["0 messages", "1 message", "1,234 messages"]


def test_what_was_said_last_is_known() -> None:
    progress = progress_of({"type": "progress", "done": 1, "of": 3}, {"type": "done", "done": 3, "next": None})

    progress.check_done("done", "again")
    assert progress.last == {"type": "done", "done": 3, "of": 3, "next": None}


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ([{"type": "progress", "done": 1, "of": None}, None], "the response broke off in the middle"),
        ([{"type": "progress", "done": 1, "found": 2}], "the response broke off"),
        ([{"type": "error", "done": 1, "detail": "the disk is full"}], "the disk is full"),
        ([{"done": 1}, {"type": "done", "done": "7"}], "the response is not that of a hub: a field .*"),
        ([{"done": 1}, {"type": "done", "done": 7, "found": -1}], "the response is not that of a hub: a field .*"),
        ([{"done": 1}, {"type": "done", "done": 7, "topics": 5}], "the response is not that of a hub: a field .*"),
        ([{"done": 1}, {"type": "done", "done": 7, "next": "\x1b[2J"}], "the response is not that of a hub: .*"),
    ],
)
def test_whatever_ends_before_it_is_done_is_an_error(lines: list[Any], why: str) -> None:
    progress = progress_of(*lines)

    with pytest.raises(Unavailable, match=rf"^1 message, and then it ended: {why} \(again\)$"):
        progress.check_done(messages(progress.last["done"]), "again")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_and_tells_how_far_it_came(capfd: pytest.CaptureFixture[str], number: signal.Signals) -> None:
    class Ended(ScriptedAsk):
        def lines(self, take: Any, *words: str, **query: str) -> None:
            super().lines(take)
            signal.raise_signal(number)

    progress, before = RequestProgress("Doing"), signal.getsignal(signal.SIGTERM)
    try:
        progress.of(Ended({"done": 7}), "POST", "/path")  # type: ignore[arg-type]
    finally:
        signal.signal(signal.SIGTERM, before)

    with pytest.raises(click.Abort):
        progress.check_done(messages(progress.last["done"]), "again")
    assert capfd.readouterr().err == "7 messages, and then it ended: interrupted (again)\n"


@pytest.mark.parametrize("answer", [None, [], 5, {}, {"number": "many", "complete": True, "until": "x"}])
def test_an_answer_that_counts_nothing_is_not_that_of_a_hub(answer: Any) -> None:
    with pytest.raises(Lost, match="not that of a hub"):
        Selected.by(lambda *_, **__: answer, "/hookbot/v1/retry", {})  # type: ignore[arg-type]


def test_how_many_are_selected_is_told() -> None:
    assert [str(Selected(number, number < 5, "")) for number in (1, 3, 5000)] == [
        "1 message",
        "3 messages",
        "at least 5,000 messages",
    ]
