"""Quotas, as the pages show them: their configuration, their refusals, and what is used of them."""

import json
from pathlib import Path

from click.testing import CliRunner

from hookbot.access.rate_limits import Rate
from hookbot.access.tokens import make_token
from hookbot.cli.main import cli
from hookbot.hub.sections import read_quotas, unless_wrong
from support import KEY
from support.api import open_api
from support.hubs import ThreadHub, configured
from support.pages import blocks, page, section

HOW = section(page("docs/operations.md"), "Share a hub between teams")
[CONFIGURATION] = blocks(HOW, "toml")
[REFUSAL] = blocks(HOW, "text")
ANSWER = blocks(page("docs/http.md").partition("### Quotas")[2], "json")[0]
[SHOWN] = blocks(section(page("docs/commands.md"), "`quotas`"), "text")


async def test_a_sender_beyond_the_quota_is_refused_as_it_is_shown(tmp_path: Path) -> None:
    async with open_api(tmp_path, text=CONFIGURATION.replace("100/s", "1/h")) as hub:
        answers = [await hub.post("/pub/team/x", token=make_token(KEY, "/pub/")) for _ in range(2)]
        listed = (await hub.http.get("/hookbot/v1/quotas")).json()["quotas"]

    assert [answer.status_code for answer in answers] == [200, 429]
    assert answers[1].text == REFUSAL.replace("100/s", "1/h")
    [shown] = json.loads(ANSWER)["quotas"]
    assert listed[0].keys() == shown.keys()
    assert {**listed[0], "limit": 100, "period_s": 1, "written": "100/s", "used": 12, "refused": 0} == shown


def test_the_limits_are_those_that_are_shown(tmp_path: Path) -> None:
    [quota] = unless_wrong(read_quotas(configured(tmp_path, CONFIGURATION)))
    assert quota.limits["publishes"] == Rate(100, 1)
    assert {use.written for use in quota.uses((), now_s=0)} == {"100/s", "1GB/h", "50", "20"}


def test_the_command_shows_the_columns_that_are_shown(tmp_path: Path) -> None:
    with ThreadHub(open_api(tmp_path, text=CONFIGURATION)) as thread:
        url = thread.hub.running.url
        result = CliRunner().invoke(cli, ["--key", KEY, "quotas", "--url", url, "--data-dir", str(tmp_path)])

    assert result.exit_code == 0, result.output
    heading, first, *_ = result.output.splitlines()
    expected, row, *_ = SHOWN.splitlines()
    assert heading.split() == expected.split()
    assert first.split()[:3] == row.split()[:3]
