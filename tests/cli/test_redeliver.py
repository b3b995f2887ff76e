"""``hookbot redeliver``."""

import json
from typing import Any

import pytest

from hookbot.cli.hub_api import Ask
from hookbot.errors import Lost
from hookbot.testing import KEY
from support.commands import Caller
from support.hubs import ThreadHub

pytestmark = pytest.mark.usefixtures("environment")


def messages(call: Caller, thread: ThreadHub, topic: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(
        call("messages", "--json", "--url", thread.url_for("/"), "--topic", topic)[1]
    )
    return found


def test_a_message_is_published_again(thread: ThreadHub, call: Caller, topic: str) -> None:
    thread.publish(topic, b"1")
    [first] = messages(call, thread, topic)

    code, out, _ = call("redeliver", "--url", thread.url_for("/"), first["id"])

    again, _ = messages(call, thread, topic)
    assert (code, out.decode().strip()) == (0, again["id"])
    assert again["replay_of"] == first["id"]


def test_all_that_are_selected_are_published_again(thread: ThreadHub, call: Caller, topic: str) -> None:
    thread.publish(topic, b"1", b"2", b"3")
    newest, *_, oldest = messages(call, thread, topic)
    options = ("redeliver", "--url", thread.url_for("/"), "--topic", topic, "--until", newest["id"])

    code, out, _ = call(*options, "--from", oldest["id"], "--where", "body != `2`", "--yes")

    assert (code, out) == (0, b"published 2 messages again\n")
    assert [one.get("replay_of") for one in messages(call, thread, topic)[:2]] == [newest["id"], oldest["id"]]


def test_without_a_token_it_is_made_from_the_key(thread: ThreadHub, call: Caller, topic: str) -> None:
    thread.publish(topic, b"1")
    [first] = messages(call, thread, topic)

    all_of_it = call("redeliver", "--url", thread.url, "--topic", topic, "--yes", HOOKBOT_KEY=KEY)
    one = call("redeliver", "--url", thread.url, first["id"], HOOKBOT_KEY=KEY)

    assert (all_of_it[0], one[0]) == (0, 0)
    assert [one.get("replay_of") for one in messages(call, thread, topic)] == [first["id"], first["id"], None]


def test_it_asks_before(thread: ThreadHub, call: Caller, topic: str, monkeypatch: pytest.MonkeyPatch) -> None:
    thread.publish(topic, b"1", b"2")
    asked = []

    def confirm(text: str, **_: Any) -> None:
        asked.append(text)

    monkeypatch.setattr("click.confirm", confirm)
    code, _, _ = call("redeliver", "--url", thread.url_for("/"), "--topic", topic)

    assert (code, asked) == (0, ["Publish 2 messages again?"])


def test_more_than_are_published_at_once_are_told(
    thread: ThreadHub, call: Caller, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hookbot.web.api.redelivery.MAX_MESSAGES", 1)
    thread.publish(topic, b"1", b"2")
    second, first = messages(call, thread, topic)

    _, out, err = call("redeliver", "--url", thread.url_for("/"), "--topic", topic, "--from", first["id"], "--yes")

    assert out == b"published 1 message again\n"
    assert f"go on with --from {second['id']}" in err


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ((), 2, "Needs ID"),
        (("x", "--topic", "a"), 2, "Needs either"),
        (("--where", "body.", "--yes"), 3, "not a JMESPath expression"),
        (("x",), 3, "not a message id"),
    ],
)
def test_mistakes_are_told(thread: ThreadHub, call: Caller, words: tuple[str, ...], code: int, message: str) -> None:
    ended, _, err = call("redeliver", "--url", thread.url_for("/"), *words)

    assert ended == code
    assert message in err


def test_that_it_ended_early_is_an_error(thread: ThreadHub, call: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Any, take: Any, *_: Any, **__: Any) -> None:
        take({"type": "error", "done": 7, "of": None, "detail": "the log is full"})

    monkeypatch.setattr("hookbot.cli.hub_api.Ask.lines", broken)
    code, _, err = call("redeliver", "--url", thread.url_for("/"), "--topic", "a", "--yes")

    assert code == 4
    assert "published 7 messages again, and then it ended: the log is full (with --until " in err


@pytest.mark.parametrize(
    ("end", "exit_code", "why"),
    [(Lost("the response broke off"), 4, "the response broke off"), (KeyboardInterrupt(), 130, "interrupted")],
)
def test_whoever_repeats_what_broke_off_publishes_nothing_twice(
    thread: ThreadHub,
    call: Caller,
    topic: str,
    monkeypatch: pytest.MonkeyPatch,
    end: BaseException,
    exit_code: int,
    why: str,
) -> None:
    thread.publish(topic, b"1", b"2")
    whole = Ask.lines

    def broken(self: Ask, take: Any, *words: str, **query: str) -> None:
        whole(self, lambda _: None, *words, **query)
        raise end

    options = ("redeliver", "--url", thread.url_for("/"), "--topic", topic, "--yes")
    with monkeypatch.context() as patch:
        patch.setattr(Ask, "lines", broken)
        code, _, err = call(*options)
    again = err[err.index("(with ") + len("(with ") : err.index(",", err.index("(with "))].split()

    assert f"and then it ended: {why} (with" in err
    assert (code, call(*options, *again)[0]) == (exit_code, 0)
    assert len(messages(call, thread, topic)) == 4
