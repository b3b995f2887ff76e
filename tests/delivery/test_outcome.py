"""Outcomes of attempts, and what is said of them."""

import pytest

from hookbot.delivery.outcome import Attempt, Failed, Outcome, times
from hookbot.protocol.message import Message

MESSAGE = Message("t", b"{}", id="abcdefgh-000000000000001")


def test_a_failure_says_what_its_outcome_does() -> None:
    assert str(Failed(Outcome("it does not work"))) == "it does not work"


@pytest.mark.parametrize(
    ("attempt", "has_failed", "said"),
    [
        (Attempt(MESSAGE, 1, Outcome("done")), False, "done"),
        (Attempt(MESSAGE, 1, Outcome("no"), 1.25), True, "no; trying again in 1.2 s"),
        (Attempt(MESSAGE, 1, Outcome("no"), 1, 1), True, "no; trying again in 1.0 s; 1 waits behind it"),
        (Attempt(MESSAGE, 1, Outcome("no"), 1, 20), True, "no; trying again in 1.0 s; 20 wait behind it"),
        (Attempt(MESSAGE, 3, Outcome("no"), kept_in="x"), True, "no; given up after 3 attempts and kept in x"),
    ],
)
def test_an_attempt_says_what_becomes_of_the_message(attempt: Attempt, has_failed: bool, said: str) -> None:
    assert attempt.has_failed == has_failed
    assert str(attempt) == f"t abcdefgh-000000000000001: {said}"


def test_attempts_are_counted_in_words() -> None:
    assert (times(1), times(2)) == ("1 attempt", "2 attempts")
