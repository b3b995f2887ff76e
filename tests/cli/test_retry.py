"""``hookbot retry``."""

import json
from typing import Any

import pytest

from hookbot.cli.hub_api import Ask
from hookbot.errors import Lost
from hookbot.protocol.failures import Failure
from hookbot.testing import KEY
from support.commands import Caller
from support.hubs import ThreadHub

pytestmark = pytest.mark.usefixtures("environment")


@pytest.fixture
def router(topic: str) -> str:
    """The router of the test, which fails at its topic."""
    return f"router-{topic}"


def messages(call: Caller, thread: ThreadHub, topic: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(
        call("messages", "--json", "--url", thread.url_for("/"), "--topic", topic)[1]
    )
    return found


def fail(call: Caller, thread: ThreadHub, router: str, topic: str, *bodies: bytes) -> list[str]:
    """Ids of failed messages, the newest first."""
    for body in bodies:
        thread.publish(topic, body)
        failure = Failure(router, messages(call, thread, topic)[0]["id"], topic, "ValueError: no")
        thread.publish(failure.failed_topic, body, headers=failure.headers)
    return [message["id"] for message in messages(call, thread, f"hookbot/failed/{router}")]


def test_a_failed_message_is_published_again_once(thread: ThreadHub, call: Caller, topic: str, router: str) -> None:
    [failed] = fail(call, thread, router, topic, b"1")

    ended = [call("retry", "--url", thread.url_for("/"), failed)[:2] for _ in range(2)]

    again, _ = messages(call, thread, topic)
    assert ended == [(0, f"{again['id']}\n".encode())] * 2
    assert again["replay_of"] == failed


def test_all_of_a_router_are_retried_and_those_that_were_before_are_told(
    thread: ThreadHub, call: Caller, topic: str, router: str
) -> None:
    fail(call, thread, f"{router}-other", topic, b"0")
    failed = fail(call, thread, router, topic, b"1", b"2", b"3")
    call("retry", "--url", thread.url_for("/"), failed[0])

    code, out, _ = call("retry", "--url", thread.url_for("/"), "--router", router, "--from", failed[1], "--yes")

    assert (code, out) == (0, b"retried 1 message; 1 message retried before\n")
    assert {one.get("replay_of") for one in messages(call, thread, topic)} == {*failed[:2], None}


def test_those_of_a_topic_are_retried_without_a_token_in_the_url(
    thread: ThreadHub, call: Caller, topic: str, router: str
) -> None:
    fail(call, thread, router, topic, b"1", b"2")

    code, out, _ = call("retry", "--url", thread.url, "--topic", topic, "--from", "1h", "--yes", HOOKBOT_KEY=KEY)

    assert (code, out) == (0, b"retried 2 messages\n")


def test_the_dead_letters_of_forward_are_retried(thread: ThreadHub, call: Caller, topic: str) -> None:
    dead = f"dead/{topic}"
    target = thread.target(500, 500)
    thread.publish(topic, b"1", b"2")
    options = ("--max-attempts", "1", "--dead-letter", thread.url_for(f"/pub/{dead}"), "--limit", "2", "--since", "all")
    assert call("forward", *options, thread.url_for(f"/sub/{topic}"), target.url)[0] == 0

    code, out, _ = call("retry", "--url", thread.url_for("/"), "--dead-letters", dead, "--yes")

    assert (code, out) == (0, b"retried 2 messages\n")
    *again, second, first = messages(call, thread, topic)
    assert {one["replay_of"] for one in again} == {first["id"], second["id"]}


def test_it_asks_before_but_not_for_nothing(
    thread: ThreadHub, call: Caller, topic: str, router: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail(call, thread, router, topic, b"1", b"2")
    asked = []

    def confirm(text: str, **_: Any) -> None:
        asked.append(text)

    monkeypatch.setattr("click.confirm", confirm)
    some = call("retry", "--url", thread.url_for("/"), "--router", router)
    none = call("retry", "--url", thread.url_for("/"), "--router", f"{router}-other")

    assert (some[0], asked) == (0, ["Retry 2 messages?"])
    assert none[:2] == (0, b"nothing has failed there\n")


def test_more_than_are_retried_at_once_are_told(
    thread: ThreadHub, call: Caller, topic: str, router: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hookbot.web.api.redelivery.MAX_MESSAGES", 1)
    fail(call, thread, router, topic, b"1", b"2")
    options = ("retry", "--url", thread.url_for("/"), "--router", router, "--yes")

    _, first, err = call(*options)
    _, second, _ = call(*options, "--from", err.split()[-1])

    assert "There are more: go on with --from " in err
    assert (first, second) == (b"retried 1 message\n", b"retried 1 message\n")


def test_that_it_ended_early_is_an_error(
    thread: ThreadHub, call: Caller, topic: str, router: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail(call, thread, router, topic, b"1")

    def broken(self: Any, take: Any, *_: Any, **__: Any) -> None:
        take({"type": "progress", "done": 7, "before": 2, "gone": 1, "of": None})
        raise Lost("the response broke off")

    monkeypatch.setattr(Ask, "lines", broken)
    code, _, err = call("retry", "--url", thread.url_for("/"), "--router", router, "--yes")

    assert code == 4
    assert "retried 4 messages; 2 messages retried before; 1 message named by dead letters, but gone" in err
    assert "the response broke off (run it again: none is published twice)" in err


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("x", "--topic", "a"), 2, "Needs either"),
        (("x",), 3, "not a message id"),
        ((__file__,), 2, "is a file, and no id: `hookbot retry-file` delivers what is in it"),
        (("--from", "yesterday"), 3, "from must be an id, a duration"),
    ],
)
def test_mistakes_are_told(thread: ThreadHub, call: Caller, words: tuple[str, ...], code: int, message: str) -> None:
    ended, _, err = call("retry", "--url", thread.url_for("/"), *words)

    assert ended == code
    assert message in err


def test_a_message_that_has_not_failed_is_not_retried(thread: ThreadHub, call: Caller, topic: str) -> None:
    thread.publish(topic, b"1")
    [message] = messages(call, thread, topic)

    code, _, err = call("retry", "--url", thread.url_for("/"), message["id"])

    assert code == 3
    assert "is none that has failed; redeliver publishes any" in err
