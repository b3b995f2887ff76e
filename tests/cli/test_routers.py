import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from click.core import Command
from click.testing import CliRunner, Result

from hookbot.cli.route import route, route_github
from hookbot.cli.routers import new_router, routers
from hookbot.errors import Unauthorized
from hookbot.protocol.message import Message
from hookbot.routers.outbox import DraftCollector
from hookbot.testing import open_test_hub

GIVEN = {"key": None, "github_secret": None}
ROUTER = """
class Copy:
    name = "copy"
    topics = ("in/",)
    def __init__(self, to: str = "copy", many: list[str] = ()) -> None:
        self.to = to
    async def route(self, message, publish):
        await publish(self.to, message)
"""


def call(command: Command, *arguments: Any, **given: Any) -> Result:
    return CliRunner().invoke(command, [str(word) for word in arguments], obj=GIVEN | given)


def error_from(result: Result) -> str:
    assert result.exception is not None
    return str(result.exception)


def test_installed_routers_are_listed_as_a_table_and_as_json() -> None:
    table, listed = call(routers), call(routers, "--json")

    assert "github  /unsafe/github.com/" in table.output
    assert "hookbot serve --router NAME" in table.output
    assert {"github", "filter"} <= {row["name"] for row in json.loads(listed.output)}


async def test_the_routers_of_a_hub_are_shown_with_how_they_are() -> None:
    class Failing:
        name = "failing"
        topics = ("in/",)

        async def route(self, message: Message, publish: DraftCollector) -> None:
            raise ValueError("no\x1b good")

    async with open_test_hub(Failing()) as hub:
        await hub.publish("in/1", b"x")
        await hub.wait_for("hookbot/failed/failing")
        shown = await trio.to_thread.run_sync(call, routers, "--url", hub.url_for("/"))
        refused = await trio.to_thread.run_sync(call, routers, "--url", hub.url.replace("//", "//wrong@"))

    header, line = shown.output.splitlines()
    assert header.split() == ["NAME", "STATE", "LAG", "ROUTED", "PUBLISHED", "FAILED", "RETRIED", "RESTARTS", "ERROR"]
    assert line.split()[:2] == ["failing", "running"]
    assert "ValueError: no  good" in line
    assert isinstance(refused.exception, Unauthorized)


def test_a_new_router_is_written_once_into_a_directory_that_is_new(tmp_path: Path) -> None:
    written = call(new_router, "my-thing", tmp_path / "new")
    again = call(new_router, "my-thing", tmp_path / "new")

    assert written.exit_code == 0
    assert "class MyThingRouter" in (tmp_path / "new" / "hookbot_my_thing.py").read_text()
    assert "exists and is not an empty directory" in error_from(again)


@pytest.mark.parametrize("name", ["My", "a b", "-a", "a--b", "a/b", "ü", ""])
def test_a_new_router_has_a_name_that_will_do(tmp_path: Path, name: str) -> None:
    assert "a router's name has lower-case letters" in error_from(call(new_router, "--", name, tmp_path / "new"))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "copy.py"
    path.write_text(ROUTER)
    return path


MISTAKES = [
    (["-o", "too=1"], "there is no option 'too'; did you mean 'to'?"),
    (["-o", "to=1"], "the option 'to' must be a string, not 1"),
    (["-o", "to"], "an option is NAME=VALUE, not 'to'"),
    (["-o", "many=['a', 1]"], "the option 'many[1]' must be a string, not 1"),
]


@pytest.mark.parametrize(("options", "error"), MISTAKES)
def test_options_on_the_command_line_are_checked_like_those_in_a_file(
    file: Path, options: list[str], error: str
) -> None:
    assert error in error_from(call(route, file, "--url", "http://x@127.0.0.1:9", *options))


def test_an_unknown_router_is_an_error() -> None:
    assert "no router 'gihub' is installed" in error_from(call(route, "gihub", "--url", "http://x@127.0.0.1:9"))


def test_route_github_needs_its_secrets_and_headers_that_are_some(tmp_path: Path) -> None:
    url = ["-u", "ws://127.0.0.1:9/unsafe/sub/github.com/", "--data-dir", tmp_path]

    assert "needs HOOKBOT_GITHUB_SECRET" in error_from(call(route_github, *url, key="k"))
    assert "a header is 'Name: value', not 'x'" in error_from(
        call(route_github, *url, "-H", "x", key="k", github_secret="s")
    )


async def test_a_router_runs_as_a_process_of_its_own_with_options_from_a_file(file: Path, tmp_path: Path) -> None:
    (tmp_path / "hookbot.toml").write_text('bind = ":0"\n[routers.copy]\nto = "there"\n')
    with trio.fail_after(60):
        async with open_test_hub() as hub:
            command = [sys.executable, "-m", "hookbot", "route", file, "--url", hub.url_for("/")]
            command += ["--config", tmp_path / "hookbot.toml", "--data-dir", tmp_path]
            async with trio.open_nursery() as nursery:
                run = partial(trio.run_process, [str(word) for word in command], check=False)
                nursery.start_soon(run)  # ends with the block

                async def publish() -> None:
                    while True:
                        await hub.publish("in/1", b"x")
                        await trio.sleep(0.1)

                nursery.start_soon(publish)
                [message] = await hub.wait_for("there")
                nursery.cancel_scope.cancel()
    assert message.hops == ("copy",)
