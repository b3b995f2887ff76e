"""Deliveries, as a worker reports them."""

from typing import Any

import pytest

from hookbot.cli.live import deliveries as module
from hookbot.cli.live.deliveries import Deliveries, Delivery
from hookbot.delivery.outcome import Attempt, Exchange, Outcome
from hookbot.protocol.message import Message, format_id

DONE = Outcome("200 OK from http://target in 4 ms", "200", 0.004)
FAILED = Outcome("http://target answered 500", "500", 0.1)


def make(n: int, body: bytes = b"", **fields: Any) -> Message:
    return Message("t", body, id=format_id("abcdefgh", n), **fields)


def handled(deliveries: Deliveries, message: Message, outcome: Outcome = DONE) -> None:
    deliveries.taken(message)
    deliveries.begun(message, 1)
    deliveries.ended(Attempt(message, 1, outcome))
    deliveries.released(message)


def only(deliveries: Deliveries) -> Delivery:
    [delivery] = deliveries
    return delivery


def test_a_message_is_retried_until_it_is_done() -> None:
    changes: list[None] = []
    deliveries = Deliveries(lambda: changes.append(None), now=lambda: 1000.0)
    message = make(1, b'{"type": "invoice.paid"}')

    deliveries.taken(message)
    assert (list(deliveries), deliveries.behind) == ([], 1)
    deliveries.begun(message, 1)
    delivery = only(deliveries)
    assert (delivery.state, delivery.event, deliveries.behind) == ("running", "invoice.paid", 0)
    deliveries.ended(Attempt(message, 1, FAILED, retry_in_s=4.0))
    assert (delivery.state, delivery.outcome, delivery.due) == ("waiting", FAILED, 1004)
    deliveries.begun(message, 2)
    deliveries.ended(Attempt(message, 2, DONE))
    deliveries.released(message)

    assert (delivery.state, delivery.outcome, deliveries.done, deliveries.given_up) == ("done", DONE, 1, 0)
    assert list(delivery.history) == [(1, 1000, FAILED.line), (2, 1000, DONE.line)]
    assert len(changes) == 6


def test_a_message_that_is_given_up_says_where_it_is_kept() -> None:
    deliveries, message = Deliveries(), make(1)
    deliveries.taken(message)
    deliveries.begun(message, 1)
    deliveries.ended(Attempt(message, 1, FAILED, kept_in="lost.jsonl"))
    deliveries.released(message)

    delivery = only(deliveries)
    assert (delivery.state, delivery.kept_in, deliveries.given_up) == ("failed", "lost.jsonl", 1)


def test_a_message_that_gives_way_has_failed() -> None:
    deliveries, message = Deliveries(), make(1)
    deliveries.taken(message)
    deliveries.begun(message, 1)
    deliveries.ended(Attempt(message, 1, FAILED, retry_in_s=1))
    deliveries.released(message)

    assert only(deliveries).is_finished


def test_a_message_that_is_done_can_be_delivered_again() -> None:
    deliveries, message = Deliveries(), make(1)
    handled(deliveries, message)
    deliveries.begin(message)
    assert (only(deliveries).state, deliveries.behind) == ("running", 0)

    deliveries.conclude(message, "failed", FAILED)

    delivery = only(deliveries)
    assert (delivery.state, delivery.number, deliveries.done) == ("failed", 2, 1)


def test_what_is_only_shown_is_received() -> None:
    deliveries = Deliveries()
    deliveries.receive(make(1))
    assert (only(deliveries).state, only(deliveries).is_finished, deliveries.received) == ("received", True, 1)


def test_messages_with_the_same_id_or_without_one_are_not_confused() -> None:
    deliveries = Deliveries()
    for message in (make(1), make(1), Message("t"), Message("t")):
        handled(deliveries, message)
    assert len(list(deliveries)) == 4


def test_the_oldest_that_are_finished_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_DELIVERIES", 3)
    deliveries = Deliveries()
    waiting = make(0)
    deliveries.taken(waiting)
    deliveries.begun(waiting, 1)
    for n in range(1, 6):
        handled(deliveries, make(n))
    assert [each.message.position for each in deliveries] == [0, 4, 5]


def test_if_none_is_finished_the_oldest_is_dropped_and_what_becomes_of_it_is_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MAX_DELIVERIES", 2)
    deliveries = Deliveries()
    messages = [make(n) for n in range(3)]
    for message in messages:
        deliveries.taken(message)
        deliveries.begun(message, 1)
    assert [each.message for each in deliveries] == messages[1:]

    deliveries.ended(Attempt(messages[0], 1, DONE))
    deliveries.released(messages[0])
    assert (deliveries.done, deliveries.behind, len(list(deliveries))) == (1, 0, 2)


def test_what_is_kept_has_a_limit_in_bytes_with_the_responses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 100_000)
    deliveries = Deliveries()
    long = Outcome("", "200", 0, Exchange((("A", "x" * 10_000),), 200, (("B", "x" * 10_000),), b"x" * 20_000, True))
    for n in range(4):
        handled(deliveries, make(n, b"x" * 1000), long)
    assert [each.message.position for each in deliveries] == [2, 3]

    handled(deliveries, make(4, b"x" * 200_000))
    assert [each.message.position for each in deliveries] == [4]


@pytest.mark.parametrize("wanted", ["T", "invoice", "abcdefgh-", "200", "cus_1", "CUS_1", "ü"])
def test_a_filter_matches_topic_event_id_result_and_body(wanted: str) -> None:
    deliveries = Deliveries()
    handled(deliveries, make(1, '{"type": "invoice.paid", "customer": "CUS_1", "name": "ü"}'.encode()))
    assert only(deliveries).matches(wanted)


def test_a_filter_does_not_match_anything_else() -> None:
    deliveries = Deliveries()
    deliveries.receive(make(1, b"x" * (1 << 20) + b"end"))
    assert not only(deliveries).matches("200")
    # Further behind than it looks.
    assert not only(deliveries).matches("end")
    assert not only(deliveries).matches("\udcff")
