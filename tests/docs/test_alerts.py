"""Alerts as the pages show them: their configuration, their messages, and how they are listed."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from hookbot.cli.main import cli
from hookbot.hub.alert_section import ALERT_KEYS
from hookbot.hub.sections import read_alerts, unless_wrong
from support import KEY
from support.alerts import until_watched
from support.api import open_api
from support.clock import Clock
from support.hubs import ThreadHub, WholeHub, configured
from support.pages import blocks, comparable, page, section

HOW = section(page("docs/operations.md"), "Be told what goes wrong")
KEYS = section(page("docs/configuration.md"), "`[[alerts]]`")
[CONFIGURATION] = blocks(HOW, "toml")
[MESSAGE] = blocks(HOW, "json")
[SHOWN] = blocks(section(page("docs/commands.md"), "`alerts`"), "text")


def test_every_key_has_a_row() -> None:
    named = "".join(line.split("|")[1] for line in KEYS.splitlines() if line.startswith("| `"))
    assert set(named.replace("`", "").replace(",", "").split()) == set(ALERT_KEYS)


def test_the_sections_that_are_shown_are_rules(tmp_path: Path) -> None:
    for text in (CONFIGURATION, *blocks(KEYS, "toml")):
        assert unless_wrong(read_alerts(configured(tmp_path, text)))


def test_the_message_and_the_list_are_as_they_are_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRIPE_SECRET", "whsec_secret")
    clock = Clock()

    async def fall_silent(hub: WholeHub) -> list[str]:
        await until_watched(hub.running.broker)
        clock.skip(days=1.1)
        while not await hub.stored():
            await hub.running.broker.log.refresh()
        return [message.body.decode() for message in await hub.stored()]

    with ThreadHub(open_api(tmp_path, text=CONFIGURATION, clock=clock)) as thread:
        [message] = thread.call(fall_silent, thread.hub)
        url = thread.hub.running.url
        result = CliRunner().invoke(cli, ["--key", KEY, "alerts", "--url", url, "--data-dir", str(tmp_path)])

    shown, sent = json.loads(MESSAGE), json.loads(message)
    assert sent.keys() == shown.keys()
    assert list(map(comparable, sent.values())) == list(map(comparable, shown.values()))
    assert [comparable(line).split() for line in result.output.splitlines()] == [
        comparable(line).split() for line in SHOWN.splitlines()
    ]
