"""Outcomes of attempts, and what is said of them."""

import pytest

from hookbot.delivery.outcome import MAX_KEPT_BODY, Attempt, Failed, Outcome, exchange_of_output, times
from hookbot.protocol.message import Message

MESSAGE = Message("t", b"{}", id="abcdefgh-000000000000001")


def test_a_failure_says_what_its_outcome_does() -> None:
    assert str(Failed(Outcome("it does not work"))) == "it does not work"


@pytest.mark.parametrize(
    ("attempt", "has_failed", "said"),
    [
        (Attempt(MESSAGE, 1, Outcome("done")), False, "done"),
        (Attempt(MESSAGE, 1, Outcome("404", handed_back=True)), False, "404; handed back to the sender"),
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


@pytest.mark.parametrize(
    ("output", "content_type"),
    [
        (b'{"a": 1}\n', "application/json"),
        (b"[]", "application/json"),
        (b"42\n", "text/plain; charset=utf-8"),
        ("grüß dich\n".encode(), "text/plain; charset=utf-8"),
        (b"[" * 100_000, "text/plain; charset=utf-8"),
        (b'<?xml version="1.0"?><Response/>', "text/xml"),
        (b"\xff\xfe", "application/octet-stream"),
    ],
)
def test_the_output_of_a_command_has_the_type_that_it_looks_like(output: bytes, content_type: str) -> None:
    exchange = exchange_of_output(output)

    assert (exchange.status, exchange.headers) == (200, (("Content-Type", content_type),))


def test_no_output_is_an_empty_answer_and_too_much_is_not_a_whole_one() -> None:
    nothing, too_much = exchange_of_output(b""), exchange_of_output(b"x" * (MAX_KEPT_BODY + 1))

    assert (nothing.headers, nothing.body, nothing.is_whole) == ((), b"", True)
    assert (len(too_much.body), too_much.is_whole) == (MAX_KEPT_BODY, False)
