"""``hookbot budgets``."""

import json

import pytest

from hookbot.testing import KEY
from support.commands import Caller
from support.hubs import ThreadHub

pytestmark = pytest.mark.usefixtures("environment")


def test_budgets_are_listed_with_what_they_hold_and_their_limits(thread: ThreadHub, call: Caller) -> None:
    code, out, _ = call("budgets", "--url", thread.url_for("/hookbot/v1/budgets"))
    heading, safe, unsafe = out.decode().splitlines()

    assert code == 0
    assert heading.split() == ["PREFIX", "MESSAGES", "BYTES", "OLDEST", "KEEP_S", "KEEP_COUNT", "KEEP_BYTES"]
    assert safe.split()[0] == "(all)"
    # Neither has an oldest message, or a limit on how many there are.
    assert [len(line.split()) for line in (safe, unsafe)] == [5, 5]
    assert unsafe.split()[0] == "/unsafe/"


def test_budgets_are_listed_in_json_also_with_the_key(thread: ThreadHub, call: Caller) -> None:
    code, out, err = call("budgets", "--url", thread.url, "--json", HOOKBOT_KEY=KEY)

    assert code == 0, err
    assert [row["prefix"] for row in json.loads(out)] == ["", "/unsafe/"]
