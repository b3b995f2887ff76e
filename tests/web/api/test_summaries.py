from dataclasses import replace

import pytest

from hookbot.protocol.failures import Failure
from hookbot.protocol.message import Message, Verified
from hookbot.web.api.summaries import summarize, verdict_on

ID = "abcdefgh-000000000000007"
JSON = ("Content-Type", "application/json")
PUSH = Message(
    "/unsafe/github.com/a",
    b"{}",
    (JSON, ("X-GitHub-Event", "push"), ("X-GitHub-Delivery", "0b989ba4")),
    verified=Verified("github", "1", 1_700_000_000.5, "/unsafe/github.com/"),
    hops=("one", "two"),
    duplicate_of="abcdefgh-000000000000001",
    replay_of="abcdefgh-000000000000002",
    routed_from="abcdefgh-000000000000003",
    id=ID,
    time_us=1_700_000_001_000_000,
)


def test_a_summary_has_everything_but_headers_and_body() -> None:
    assert summarize(PUSH) == {
        "id": ID,
        "topic": "/unsafe/github.com/a",
        "time": "2023-11-14T22:13:21.000000Z",
        "size": 2,
        "content_type": "application/json",
        "event": "push",
        "verdict": "verified",
        "provider": "github",
        "key": "1",
        "signed_at": "2023-11-14T22:13:20.500000Z",
        "source": "/unsafe/github.com/",
        "delivery": "0b989ba4",
        "hops": ["one", "two"],
        "duplicate_of": "abcdefgh-000000000000001",
        "replay_of": "abcdefgh-000000000000002",
        "routed_from": "abcdefgh-000000000000003",
    }


def test_what_a_message_does_not_have_is_left_out() -> None:
    assert summarize(Message("a", b"x", id=ID)) == {
        "id": ID,
        "topic": "a",
        "time": "1970-01-01T00:00:00.000000Z",
        "size": 1,
        "content_type": None,
        "event": None,
        "verdict": "token",
    }


def test_a_failed_message_tells_what_failed() -> None:
    failure = Failure("deploy", "abcdefgh-000000000000001", "acme/a", "ValueError: no")

    summary = summarize(Message(failure.failed_topic, b"", failure.headers, id=ID))

    assert summary["failed"] == {
        "router": "deploy",
        "id": "abcdefgh-000000000000001",
        "topic": "acme/a",
        "error": "ValueError: no",
    }


@pytest.mark.parametrize(
    ("message", "verdict"),
    [
        (PUSH, "verified"),
        (replace(PUSH, verified=None), "unverified"),
        (replace(PUSH, verified=None, topic="a"), "token"),
    ],
)
def test_the_verdict_is_what_the_hub_knows_of_the_sender(message: Message, verdict: str) -> None:
    assert verdict_on(message) == verdict


@pytest.mark.parametrize(
    ("provider", "header", "delivery"),
    [
        ("github", ("X-GitHub-Delivery", "0b989ba4"), "0b989ba4"),
        ("gitlab", ("Idempotency-Key", "x" * 1000), "x" * 256),
        ("stripe", ("X-GitHub-Delivery", "0b989ba4"), None),
        ("no longer there", ("X-GitHub-Delivery", "0b989ba4"), None),
    ],
)
def test_the_id_of_the_delivery_is_found_where_the_provider_has_it(
    provider: str, header: tuple[str, str], delivery: str | None
) -> None:
    message = replace(PUSH, headers=(header,), verified=Verified(provider, "0"))

    assert summarize(message).get("delivery") == delivery


@pytest.mark.parametrize("signed_at", [-1.0, 1e300])
def test_a_time_that_no_text_can_say_is_left_out(signed_at: float) -> None:
    assert "signed_at" not in summarize(replace(PUSH, verified=Verified("github", "0", signed_at)))
