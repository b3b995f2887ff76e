"""``hookbot messages`` and ``message``."""

import json
from typing import Any

import pytest

from support.commands import Caller
from support.hubs import ThreadHub

pytestmark = pytest.mark.usefixtures("environment")


def listed(call: Caller, thread: ThreadHub, *words: str) -> list[dict[str, Any]]:
    code, out, err = call("messages", "--json", "--url", thread.url_for("/"), *words)
    assert code == 0, err
    found: list[dict[str, Any]] = json.loads(out)
    return found


def test_messages_are_listed_newest_first(thread: ThreadHub, call: Caller, topic: str) -> None:
    thread.publish(topic, b'{"type": "one"}', b'{"type": "two"}')

    code, out, _ = call("messages", "--topic", topic, "--url", thread.url_for("/"))
    heading, second, first = out.decode().splitlines()

    assert code == 0
    assert heading.split() == ["TIME", "TOPIC", "EVENT", "SIZE", "VERDICT", "ID"]
    assert second.split()[3:7] == [topic, "two", "15", "B"]
    assert first.split()[4] == "one"


def test_what_is_listed_is_selected_and_limited(
    thread: ThreadHub, call: Caller, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hookbot.cli.messages._PAGE", 2)
    thread.publish(topic, *(b'{"n": %d}' % n for n in range(7)))

    five = listed(call, thread, "--topic", topic, "-n", "5")
    before = listed(call, thread, "--topic", topic, "--before", five[-1]["id"])
    one = listed(call, thread, "--topic", topic, "--where", "body.n == `3`")

    assert (len(five), len(before), len(one)) == (5, 2, 1)
    assert one[0]["id"] == five[3]["id"]


def test_a_message_is_shown_with_its_headers(thread: ThreadHub, call: Caller, topic: str) -> None:
    thread.publish(topic, b'{"a": 1}', headers=(("X-GitHub-Event", "push"),))
    [summary] = listed(call, thread, "--topic", topic)

    shown, raw, envelope = (
        call("message", "--url", thread.url_for("/"), summary["id"], *form)[1] for form in ((), ("--raw",), ("--json",))
    )

    assert "X-GitHub-Event: push" in shown.decode()
    assert '"a": 1' in shown.decode()
    assert raw == b'{"a": 1}'
    assert json.loads(envelope)["id"] == summary["id"]


def test_a_message_that_is_not_there_is_refused(thread: ThreadHub, call: Caller) -> None:
    code, _, err = call("message", "--url", thread.url_for("/"), "otherlog-000000000000001")

    assert code == 3
    assert "another log" in err
