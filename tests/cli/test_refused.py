"""``hookbot refused``."""

import json
from urllib.request import Request, urlopen

import pytest

from hookbot.testing import KEY
from support.commands import Caller
from support.hubs import ThreadHub

pytestmark = pytest.mark.usefixtures("environment")


@pytest.fixture
def refused(thread: ThreadHub, topic: str) -> str:
    """The path of a publish that was refused twice."""
    for _ in range(2):
        with pytest.raises(OSError, match="401"):
            urlopen(Request(f"{thread.url}/pub/{topic}", b"hello"))
    return f"/pub/{topic}"


def test_refusals_are_listed_with_their_reason_and_how_often_they_came(
    thread: ThreadHub, call: Caller, refused: str
) -> None:
    code, out, _ = call("refused", "--url", thread.url_for("/hookbot/v1/refusals"), "--text", refused)
    heading, row = out.decode().splitlines()

    assert code == 0
    assert heading.split() == ["LAST", "COUNT", "STATUS", "CLIENT", "METHOD", "PATH", "REASON"]
    assert row.split()[2:8] == ["UTC", "2", "401", "127.0.0.1", "POST", refused]
    assert f"{refused}  there is no token" in row


def test_those_of_a_topic_are_listed_with_its_token_in_json(
    thread: ThreadHub, call: Caller, topic: str, refused: str
) -> None:
    code, out, err = call("refused", "--url", thread.url, "--topic", topic, "--json", HOOKBOT_KEY=KEY)
    assert code == 0, err
    [row] = json.loads(out)
    assert (row["path"], row["count"]) == (refused, 2)

    assert json.loads(call("refused", "--url", thread.url, "--topic", "x/", "--json", HOOKBOT_KEY=KEY)[1]) == []


def test_those_of_a_provider_are_listed(thread: ThreadHub, call: Caller, refused: str) -> None:
    options = ("--url", thread.url_for("/hookbot/v1/refusals"), "--text", refused, "--json")

    assert len(json.loads(call("refused", *options)[1])) == 1
    assert json.loads(call("refused", *options, "--provider", "stripe")[1]) == []
