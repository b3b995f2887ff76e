"""Failures, as headers of the messages that tell of them."""

from dataclasses import replace

import pytest

from hookbot.protocol.failures import Failure, failed_in, without_failure
from hookbot.protocol.message import Message

FAILURE = Failure("github", "abcdefgh-000000000000001", "github/acme", "ValueError: no body")


def test_a_failure_is_read_from_the_headers_that_tell_of_it() -> None:
    headers = (("X-A", "1"), *FAILURE.headers)

    assert Failure.of(Message(FAILURE.failed_topic, headers=headers)) == FAILURE
    assert without_failure(headers) == (("X-A", "1"),)


def test_only_what_is_on_a_topic_of_the_hub_tells_of_a_failure() -> None:
    assert Failure.of(Message("failed/github", headers=FAILURE.headers)) is None


def test_a_client_may_claim_one_on_a_topic_that_takes_a_token() -> None:
    assert Failure.claimed_by(Message("dead", headers=FAILURE.headers)) == FAILURE
    assert Failure.claimed_by(Message("dead", headers=FAILURE.headers[2:])) is None
    for topic in ("/unsafe/dead", FAILURE.failed_topic, "/unsafe/hookbot/failed/github"):
        assert Failure.claimed_by(Message(topic, headers=FAILURE.headers)) is None


@pytest.mark.parametrize("topic", ["in/\u20ac", "in/\\u20ac", "in/50%25\u20ac", "in/ ", "in/\u202e", "in/\xe9"])
def test_any_topic_is_told_as_it_is(topic: str) -> None:
    failure = Failure("github", FAILURE.id, topic, "no")

    assert Failure.of(Message(failure.failed_topic, headers=failure.headers)) == failure
    assert Failure.claimed_by(Message("dead", headers=failure.headers)) == failure
    assert without_failure(failure.headers) == ()


@pytest.mark.parametrize("topic", ["github/acme", "in/\u20ac"])
def test_it_is_of_one_message_where_that_was(topic: str) -> None:
    message = Message(topic, id=FAILURE.id)
    told = Failure.claimed_by(Message("dead", headers=Failure("f", message.id, topic, "").headers))

    assert told
    assert told.is_of(message)
    assert replace(told, topic=topic.encode("latin-1", "backslashreplace").decode()).is_of(message), "an older one"
    assert not told.is_of(Message("elsewhere", id=message.id))
    assert not told.is_of(Message(topic, id="abcdefgh-000000000000002"))


@pytest.mark.parametrize(
    ("topic", "router"),
    [("hookbot/failed/a", "a"), ("/unsafe/hookbot/failed/a", "a"), ("failed/a", None), ("x/hookbot/failed/a", None)],
)
def test_the_topic_names_the_router(topic: str, router: str | None) -> None:
    assert failed_in(topic) == router


def test_what_fails_on_an_unsafe_topic_stays_unsafe() -> None:
    assert Failure("a", "", "/unsafe/x", "").failed_topic == "/unsafe/hookbot/failed/a"


def test_a_header_can_be_sent_by_any_client() -> None:
    assert Failure("a", "", "in/\u20ac ", "a\u20acb").headers[2:] == (
        ("Hookbot-Failed-Topic", "in/\\u20ac"),
        ("Hookbot-Failed-Error", "a\\u20acb"),
        ("Hookbot-Failed-Topic*", "UTF-8''in%2F%E2%82%AC%20"),
    )
