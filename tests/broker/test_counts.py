from hookbot.broker.counts import Counts
from hookbot.errors import KeyReused
from hookbot.protocol.message import Duplicate, Message


def test_what_is_stored_and_what_is_a_repeat_are_counted() -> None:
    counts = Counts()
    counts.count_outcomes([Message("a", b"12"), Duplicate("x"), Message("b", b"3"), KeyReused("k")])

    assert (counts.published, counts.published_bytes, counts.duplicates) == (2, 3, 1)


def test_commits_are_counted_with_the_seconds_that_they_took() -> None:
    counts = Counts()
    counts.count_commit(0.25)
    counts.count_commit(0.5)

    assert (counts.commits, counts.commit_s) == (2, 0.75)


def test_refusals_are_counted_by_status() -> None:
    counts = Counts()
    for status in (200, 101, 401, 401, 503):
        counts.count_response(status)

    assert counts.refused == {"401": 2, "503": 1}
