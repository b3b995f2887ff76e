"""``hookbot sources``."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from hookbot.hub.hub import open_hub
from support import KEY, SECRET
from support.commands import Caller
from support.hubs import ThreadHub, configured

pytestmark = pytest.mark.usefixtures("environment")

SOURCES = f"""
[[sources]]
topic = "/unsafe/stripe/"
provider = "stripe"
secrets = ["{SECRET}"]
"""


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[ThreadHub]:
    with ThreadHub(open_hub(configured(tmp_path, SOURCES))) as hub:
        yield hub


def test_a_test_is_sent_and_counted(hub: ThreadHub, call: Caller) -> None:
    code, out, err = call("sources", "test", "--url", hub.url, "/unsafe/stripe/", HOOKBOT_KEY=KEY)
    assert (code, err) == (0, "")
    assert out.decode().strip().endswith("-000000000000001")

    code, out, _ = call("sources", "list", "--url", hub.url, HOOKBOT_KEY=KEY)
    heading, row = out.decode().splitlines()
    assert heading.split()[:5] == ["TOPIC", "PROVIDER", "ACCEPTED", "DUPLICATES", "REFUSED"]
    assert row.split()[:5] == ["/unsafe/stripe/", "stripe", "1", "0", "0"]
    assert row.split()[-1] == "never"
    [shown] = json.loads(call("sources", "list", "--json", "--url", hub.url, HOOKBOT_KEY=KEY)[1])
    assert (shown["accepted"], shown["testable"]) == (1, True)


def test_a_test_tells_of_an_event(hub: ThreadHub, call: Caller) -> None:
    words = ("sources", "test", "--url", hub.url, "/unsafe/stripe/", "--event")
    code, id, _ = call(*words, "invoice.paid", HOOKBOT_KEY=KEY)
    stored = call("message", id.decode().strip(), "--raw", "--url", hub.url, HOOKBOT_KEY=KEY)[1]
    assert (code, json.loads(stored)["type"]) == (0, "invoice.paid")

    code, _, err = call(*words, "invoice.payd", HOOKBOT_KEY=KEY)
    assert (code, "did you mean 'invoice.paid'?" in err) == (3, True)


def test_a_topic_without_a_source_is_refused(hub: ThreadHub, call: Caller) -> None:
    code, _, err = call("sources", "test", "--url", hub.url, "a", HOOKBOT_KEY=KEY)

    assert (code, err.strip()) == (3, "hookbot: 404 no source has the topic 'a'")
