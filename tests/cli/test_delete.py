"""``hookbot delete``."""

import json
from typing import Any

import pytest

from hookbot.testing import KEY
from support.commands import Caller
from support.hubs import ThreadHub

pytestmark = pytest.mark.usefixtures("environment")


def ids(call: Caller, thread: ThreadHub, topic: str) -> list[str]:
    """Ids of the stored messages of a topic, the newest first."""
    found = json.loads(call("messages", "--json", "--url", thread.url_for("/"), "--topic", topic)[1])
    return [message["id"] for message in found]


def test_a_message_is_deleted_with_its_copies(thread: ThreadHub, call: Caller, topic: str) -> None:
    thread.publish(topic, b"1", b"2")
    second, first = ids(call, thread, topic)
    call("redeliver", "--url", thread.url_for("/"), first)

    deleted = call("delete", "--url", thread.url_for("/"), first, "--yes")
    again = call("delete", "--url", thread.url_for("/"), first, "--yes")

    assert deleted == (0, b"deleted 2 messages, copies included: 1\n", "")
    assert (again[0], "has no message" in again[2]) == (3, True)
    assert ids(call, thread, topic) == [second]


def test_all_that_is_selected_is_deleted(thread: ThreadHub, call: Caller, topic: str) -> None:
    thread.publish(topic, b"1", b"2", b"3", b"4")
    newest, third, second, _ = ids(call, thread, topic)

    options = ("delete", "--url", thread.url, "--topic", topic, "--from", second, "--until", newest)
    code, out, _ = call(*options, "--where", "body != `3`", "--yes", HOOKBOT_KEY=KEY)

    assert (code, out) == (0, b"deleted 2 messages\n")
    assert ids(call, thread, topic)[0] == third


def test_a_dry_run_deletes_nothing(thread: ThreadHub, call: Caller, topic: str) -> None:
    thread.publish(topic, b"1")
    [first] = ids(call, thread, topic)
    call("redeliver", "--url", thread.url_for("/"), first)

    all_of_it = call("delete", "--url", thread.url_for("/"), "--topic", topic, "--dry-run")
    one = call("delete", "--url", thread.url_for("/"), first, "--only-this", "--dry-run")

    assert all_of_it == (0, b"would delete 2 messages\n", "")
    assert one == (0, f"would delete 1 message; copies that stay: 1, on {topic}\n".encode(), "")
    assert len(ids(call, thread, topic)) == 2


def test_it_asks_before_and_deletes_nothing_that_came_meanwhile(
    thread: ThreadHub, call: Caller, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    thread.publish(topic, b"1", b"2")
    asked = []

    def confirm(text: str, **_: Any) -> None:
        asked.append(text)
        thread.publish(topic, b"3")

    monkeypatch.setattr("click.confirm", confirm)
    code, out, _ = call("delete", "--url", thread.url_for("/"), "--topic", topic)

    assert (code, out, asked) == (0, b"deleted 2 messages\n", ["Delete 2 messages?"])
    assert len(ids(call, thread, topic)) == 1


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ((), 2, "Needs either"),
        (("x", "--topic", "a"), 2, "Needs either"),
        (("--text", "a", "--yes"), 2, "Needs either"),
        (("--topic", "a", "--where", "body.", "--yes"), 3, "not a JMESPath expression"),
        (("x",), 3, "not a message id"),
    ],
)
def test_mistakes_are_told(thread: ThreadHub, call: Caller, words: tuple[str, ...], code: int, message: str) -> None:
    ended, _, err = call("delete", "--url", thread.url_for("/"), *words)

    assert ended == code
    assert message in err


def test_that_it_ended_early_is_an_error(thread: ThreadHub, call: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Any, take: Any, *_: Any, **__: Any) -> None:
        take({"type": "error", "done": 7, "found": 9, "detail": "the disk is full"})

    monkeypatch.setattr("hookbot.cli.hub_api.Ask.lines", broken)
    code, _, err = call("delete", "--url", thread.url_for("/"), "--topic", "a", "--yes")

    assert code == 4
    assert "deleted 7 messages, and then it ended: the disk is full (the same command deletes the rest)" in err


def test_bytes_that_cannot_be_erased_yet_are_told(
    thread: ThreadHub, call: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(self: Any, take: Any, *_: Any, **__: Any) -> None:
        told = {"done": 1, "found": 1, "copies": 0, "left": 0, "topics": [], "until": "a", "detail": "it is read"}
        take({"type": "done", **told})

    monkeypatch.setattr("hookbot.cli.hub_api.Ask.lines", late)

    assert call("delete", "--url", thread.url_for("/"), "x", "--yes") == (0, b"deleted 1 message\n", "it is read\n")
