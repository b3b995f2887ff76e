"""Commands that ask the HTTP API of a hub."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from hookbot.cli.hub_api import Ask, of_a_hub
from hookbot.errors import Refused, Unauthorized
from hookbot.testing import KEY
from support.hubs import ThreadHub

LIST = "/hookbot/v1/cursors"


@click.command()
@of_a_hub
@click.option("--path")
def command(ask: Ask, path: str | None) -> None:
    click.echo(ask("GET", LIST, **({"path": path} if path else {})))


Call = Callable[..., Result]


@pytest.fixture
def call(thread: ThreadHub, tmp_path: Path) -> Call:
    def call(*words: str, key: str | None = None, **variables: str) -> Result:
        given: dict[str, Any] = {"key": key, "github_secret": None}
        return CliRunner(env=variables).invoke(command, [*words, "--data-dir", str(tmp_path)], obj=given)

    return call


def test_a_hub_is_asked_with_the_token_in_the_url(thread: ThreadHub, call: Call) -> None:
    assert call("--url", thread.url_for(LIST)).output == "{'cursors': []}\n"
    assert call(HOOKBOT_URL=thread.url_for("/")).output == "{'cursors': []}\n"


def test_the_url_of_a_subscription_tells_what_its_token_is_for(thread: ThreadHub, call: Call) -> None:
    assert call("--url", thread.url_for("/sub/acme/")).output == "{'cursors': []}\n"
    assert isinstance(call("--url", thread.url_for("/pub/acme/")).exception, Unauthorized)


def test_without_a_token_it_is_made_from_the_key(thread: ThreadHub, call: Call, tmp_path: Path) -> None:
    assert isinstance(call("--url", thread.url).exception, Unauthorized)
    assert call("--url", thread.url, key=KEY).exit_code == 0
    (tmp_path / "key").write_text(KEY)
    assert call("--url", thread.url).exit_code == 0
    # An address that is not one of loopback, though it leads to this machine.
    assert isinstance(call("--url", thread.url.replace("127.0.0.1", "0.0.0.0")).exception, Unauthorized)


def test_the_query_is_passed_on(thread: ThreadHub, call: Call) -> None:
    assert call("--url", thread.url_for("/"), "--path", "/sub/a").exit_code == 0
    assert isinstance(call("--url", thread.url_for("/"), "--path", "/pub/a").exception, Refused)


def test_lines_are_taken_one_by_one(thread: ThreadHub) -> None:
    @click.command()
    @of_a_hub
    def every(ask: Ask) -> None:
        ask.lines(lambda line: click.echo(line["type"]), "POST", "/hookbot/v1/redeliver", "a key", topic="nothing")

    assert CliRunner().invoke(every, ["--url", thread.url_for("/")], obj={"key": None}).output == "done\n"
