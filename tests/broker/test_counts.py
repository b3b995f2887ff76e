from hookbot.broker.counts import Counts
from hookbot.errors import KeyReused, Superseded, TooManyRequests, Unauthorized
from hookbot.protocol.message import Duplicate, Message


def test_what_is_stored_and_what_is_a_repeat_are_counted() -> None:
    counts = Counts()
    counts.count_outcomes([Message("a", b"12"), Duplicate("x"), Message("b", b"3"), KeyReused("k")])

    assert (counts.published, counts.published_bytes, counts.duplicates) == (2, 3, 1)


def test_a_commit_is_counted_with_what_it_stored_and_the_seconds_that_it_took() -> None:
    counts = Counts()
    counts.count_commit([[Message("a", b"12"), Duplicate("x")], Superseded("gone"), []], waited_s=0.5, took_s=0.25)
    counts.count_commit([[Message("b", b"3"), Message("c", b"")]], waited_s=1.5, took_s=0.5)

    assert (counts.published, counts.published_bytes, counts.duplicates) == (3, 3, 1)
    assert (counts.commit_times.count, counts.commit_times.sum) == (2, 0.75)
    assert (counts.store_times.count, counts.store_times.sum) == (4, 4.0)
    assert (counts.batch_messages.count, counts.batch_messages.sum) == (2, 3)


def test_what_was_delivered_is_the_sum_of_all_formats() -> None:
    counts = Counts()
    counts.delivered_in["v1"].add(2, 100)
    counts.delivered_in["raw"].add(1, 10)

    assert counts.delivered == 3
    assert (counts.delivered_in["v1"].messages, counts.delivered_in["v1"].bytes) == (2, 100)


def test_refusals_are_counted_by_status() -> None:
    counts = Counts()
    for status in (200, 101, 401, 401, 503):
        counts.count_response(status)

    assert counts.refused == {"401": 2, "503": 1}


def test_errors_are_counted_by_their_kind() -> None:
    counts = Counts()
    for error in (TooManyRequests("a", retry_after_s=1), TooManyRequests("b", retry_after_s=2), Unauthorized()):
        counts.count_refusal(error)

    assert counts.refused_because == {"too_many_requests": 2, "unauthorized": 1}
