"""What is logged while a live view is there."""

import logging

import pytest

from hookbot.cli.live.journal import journal
from hookbot.delivery.outcome import Attempt, Outcome
from hookbot.protocol.message import Message

logger = logging.getLogger("hookbot.test")


def test_lines_are_shown_and_only_errors_are_logged_afterwards(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "hookbot")
    shown: list[str] = []
    attempt = Attempt(Message("t"), 1, Outcome("no"), kept_in="lost.jsonl")

    with journal() as log:
        logger.info("nobody sees this")
        log.show = shown.append
        logger.info("listening to %s", "x")
        # A row of the list shows it.
        logger.info("%s", attempt, extra={"attempt": attempt})
        logger.error("%s", attempt, extra={"attempt": attempt})
        assert caplog.messages == []

    assert shown == ["listening to x"]
    assert caplog.messages == [str(attempt)]


def test_no_more_than_the_last_errors_are_kept(caplog: pytest.LogCaptureFixture) -> None:
    with journal():
        for n in range(100):
            logger.error("%s", n)
    assert caplog.messages == [str(n) for n in range(80, 100)]


def test_the_handlers_are_back_after_a_failure() -> None:
    before = logging.getLogger().handlers[:]
    with pytest.raises(ZeroDivisionError), journal():
        raise ZeroDivisionError
    assert logging.getLogger().handlers == before
