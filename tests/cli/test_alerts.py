"""``hookbot alerts``, and what ``hookbot sources`` says of a silent source."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from hookbot.access.tokens import make_token
from hookbot.alerts.subjects import ALERTS
from hookbot.broker.starts import Start
from hookbot.hub.hub import RunningHub, open_hub
from hookbot.protocol.topics import TopicFilter
from support import KEY, SECRET
from support.clock import Clock
from support.commands import Caller
from support.hubs import ThreadHub, configured

pytestmark = pytest.mark.usefixtures("environment")

TEXT = f"""
[[sources]]
topic = "/unsafe/shop/"
provider = "github"
secrets = ["{SECRET}"]
expect_every = "1d"
"""
SENTENCE = (
    "the source /unsafe/shop/ is silent: nothing was accepted since 2023-11-14T22:13:20Z, "
    "and something is expected every 1d"
)


@pytest.fixture
def silent(tmp_path: Path) -> Iterator[ThreadHub]:
    """A hub that has just told that a source is silent."""
    clock = Clock()
    opened = open_hub(configured(tmp_path, TEXT), clock_us=clock, monotonic_us=clock, look_interval_s=0.01)

    async def fall_silent(running: RunningHub) -> None:
        # The first look, from which the time counts.
        while not await running.broker.log.cursors("alert "):
            await running.broker.log.refresh()
        clock.skip(days=1.1)
        with running.broker.subscribe(TopicFilter((ALERTS,)), Start(0)) as subscription:
            await subscription.take()

    with ThreadHub(opened) as thread:
        thread.call(fall_silent, thread.hub)
        yield thread


def test_what_is_firing_is_listed(silent: ThreadHub, call: Caller) -> None:
    code, out, err = call("alerts", "--url", silent.url, HOOKBOT_KEY=KEY)
    assert code == 0, err
    heading, row = out.decode().splitlines()
    assert heading.split() == ["SINCE", "KIND", "NAME", "SENTENCE"]
    assert row == f"2023-11-14 22:13:20 UTC  source  /unsafe/shop/  {SENTENCE}"


def test_what_is_firing_is_listed_in_json(silent: ThreadHub, call: Caller) -> None:
    url = silent.url.replace("://", f"://{make_token(KEY, '/hookbot/v1/alerts')}@")
    code, out, _ = call("alerts", "--url", url, "--json")
    assert code == 0
    assert [(row["state"], row["sentence"]) for row in json.loads(out)] == [("firing", SENTENCE)]


def test_the_sources_that_are_silent_say_since_when(silent: ThreadHub, call: Caller) -> None:
    code, out, err = call("sources", "list", "--url", silent.url, HOOKBOT_KEY=KEY)
    assert code == 0, err
    heading, row = out.decode().splitlines()
    assert "LAST_ACCEPTED  SILENT_SINCE             LAST_REFUSED" in heading
    assert row.split()[5:9] == ["never", "2023-11-14", "22:13:20", "UTC"]
