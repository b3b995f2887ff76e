from typing import Any

import pytest

from hookbot.access.scope import Scope
from hookbot.errors import Refused
from hookbot.protocol.expressions import TooManySteps
from hookbot.protocol.failures import Failure
from hookbot.protocol.message import Message, Verified
from hookbot.protocol.request import Request
from hookbot.protocol.topics import EVERYTHING, TopicFilter
from hookbot.web.api.filters import SEARCHED_BYTES, Filters
from hookbot.web.api.operations import Asked

ALL = Scope(EVERYTHING, True, lambda action, path: None, (), ())
ACME = Scope(TopicFilter(("acme/",)), False, lambda action, path: None, (), ())
PUSH = Message(
    "/unsafe/github.com/a",
    '{"ref": "refs/heads/main", "who": "Jörg"}'.encode(),
    (("Content-Type", "application/json"), ("X-GitHub-Event", "push")),
    verified=Verified("github", "0"),
)
FAILURE = Failure("deploy", "abcdefgh-000000000000001", "acme/a", "ValueError: no")


def filters(scope: Scope = ALL, /, **query: Any) -> Filters:
    request = Request("GET", b"/hookbot/v1/messages", ())
    return Filters.read(Asked(request, scope, query))


@pytest.mark.parametrize(
    ("query", "matches"),
    [
        ({}, True),
        ({"provider": "github"}, True),
        ({"provider": "stripe"}, False),
        ({"event": "push"}, True),
        ({"event": "pus"}, False),
        ({"verdict": "verified"}, True),
        ({"verdict": "unverified"}, False),
        ({"text": "GITHUB.COM"}, True),
        ({"text": "x-github-event: PUSH"}, True),
        ({"text": "Refs/Heads"}, True),
        ({"text": "jÖRG"}, True),
        ({"text": "absent"}, False),
        ({"where": "body.ref == 'refs/heads/main'"}, True),
        ({"where": "body.ref == 'refs/heads/dev'"}, False),
        ({"where": "verified && topic == '/unsafe/github.com/a' && headers.\"x-github-event\""}, True),
        ({"where": "contains(body.absent, 'x')"}, False),
        ({"provider": "github", "event": "push", "verdict": "verified", "text": "main", "where": "body"}, True),
        ({"provider": "github", "event": "ping", "verdict": "verified", "text": "main", "where": "body"}, False),
    ],
)
def test_a_message_matches_if_all_filters_do(query: dict[str, Any], matches: bool) -> None:
    made = filters(**query)

    assert made.matches(PUSH) == matches
    assert made.takes_all == (not query)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"verdict": "great"}, "verdict has to be verified or token or unverified, not 'great'"),
        ({"where": "body."}, "where is not a JMESPath expression"),
        ({"where": "bodi.x"}, "a message has no 'bodi'"),
        ({"where": "topic" + " || topic" * 100}, "where has at most 500 characters, and this has 905"),
        ({"text": "x" * 201}, "text has at most 200 characters"),
        ({"topic": "a//b"}, "empty"),
    ],
)
def test_a_malformed_filter_is_refused(query: dict[str, Any], message: str) -> None:
    with pytest.raises(Refused, match=message):
        filters(**query)


@pytest.mark.parametrize(
    ("scope", "topic", "patterns"),
    [
        (ALL, "acme/", {"acme/"}),
        (ALL, "/unsafe/github.com/", {"/unsafe/github.com/"}),
        (ACME, "", {"acme/", "hookbot/replies/acme/", "hookbot/failed/", "/unsafe/hookbot/failed/"}),
        (ACME, "acme/app", {"acme/app"}),
        (Scope(TopicFilter(("acme/a/", "b")), False, ACME.find, (), ()), "acme/", {"acme/a/"}),
        (ACME, "hookbot/failed/deploy", {"hookbot/failed/deploy"}),
    ],
)
def test_the_topic_narrows_what_the_scope_sees(scope: Scope, topic: str, patterns: set[str]) -> None:
    assert set(filters(scope, topic=topic).wanted.patterns) == patterns


@pytest.mark.parametrize("topic", ["other/", "acme", "/unsafe/acme/"])
def test_a_topic_that_the_scope_does_not_see_is_refused(topic: str) -> None:
    with pytest.raises(Refused, match="no token of this request shows"):
        filters(ACME, topic=topic)


@pytest.mark.parametrize(
    ("message", "seen"),
    [
        (Message("acme/a"), True),
        (Message("other/a"), False),
        (Message(FAILURE.failed_topic, b"", FAILURE.headers), True),
        (Message("hookbot/failed/deploy", b"", Failure("deploy", "", "other/a", "").headers), False),
        (Message("other/a", b"", FAILURE.headers), False),
    ],
)
def test_only_what_the_scope_sees_matches(message: Message, seen: bool) -> None:
    assert filters(ACME).matches(message) == seen
    assert filters(ACME, where="topic").matches(message) == seen


def test_of_a_large_body_the_first_mebibyte_is_searched() -> None:
    body = b'["' + b"x" * (SEARCHED_BYTES - 12) + b'needle", "late"]' + b" " * 100
    large = Message("a", body)

    assert filters(text="needle").matches(large)
    assert not filters(text="late").matches(large)
    assert not filters(where="body").matches(large)
    assert filters(where="topic").matches(large)


def test_an_expression_that_takes_too_long_is_told() -> None:
    with pytest.raises(TooManySteps):
        filters(where="|".join(["[@,@][]"] * 30)).matches(PUSH)


@pytest.mark.parametrize("relation", [{"routed_from": "x"}, {"replay_of": "x"}, {"duplicate_of": "x"}])
def test_relations_are_a_filter_too(relation: Any) -> None:
    made = Filters(ALL, EVERYTHING, related_to="x")

    assert made.matches(Message("a", **relation))
    assert not made.matches(Message("a"))
    assert not made.takes_all
