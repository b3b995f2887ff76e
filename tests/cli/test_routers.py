"""``hookbot routers`` and ``hookbot new-router``."""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from click.core import Command
from click.testing import CliRunner, Result

from hookbot.cli.routers import new_router, routers
from hookbot.errors import Unauthorized
from hookbot.protocol.message import Message
from hookbot.routers import Publish
from hookbot.testing import KEY, open_test_hub

GIVEN = {"key": None, "github_secret": None}


def call(command: Command, *arguments: Any, **given: Any) -> Result:
    return CliRunner().invoke(command, [str(word) for word in arguments], obj=GIVEN | given)


def test_installed_routers_are_listed_as_a_table_and_as_json() -> None:
    table, listed = call(routers), call(routers, "--json")

    assert "github  /unsafe/github.com/" in table.output
    assert "hookbot serve --router NAME" in table.output
    assert {"github", "filter"} <= {row["name"] for row in json.loads(listed.output)}


async def test_the_routers_of_a_hub_are_shown_with_how_they_are() -> None:
    class Failing:
        name = "failing"
        topics: Sequence[str] = ("in/",)

        async def route(self, message: Message, publish: Publish) -> None:
            raise ValueError("no\x1b good")

    async with open_test_hub(Failing()) as hub:
        await hub.publish("in/1", b"x")
        await hub.wait_for("hookbot/failed/failing")
        shown = await trio.to_thread.run_sync(call, routers, "--url", hub.url_for("/"))
        refused = await trio.to_thread.run_sync(call, routers, "--url", hub.url.replace("//", "//wrong@"))

    header, line = shown.output.splitlines()
    assert header.split() == ["NAME", "STATE", "LAG", "ROUTED", "PUBLISHED", "FAILED", "RETRIED", "RESTARTS", "ERROR"]
    assert line.split()[:2] == ["failing", "running"]
    assert "ValueError: no\\x1b good" in line
    assert isinstance(refused.exception, Unauthorized)


async def test_a_token_is_made_from_the_key_where_the_url_has_none(tmp_path: Path) -> None:
    async with open_test_hub() as hub:
        words = ["--json", "--url", hub.url, "--data-dir", tmp_path]
        listed = await trio.to_thread.run_sync(partial(call, routers, *words, key=KEY))
        refused = await trio.to_thread.run_sync(partial(call, routers, *words))

    assert json.loads(listed.output) == []
    assert isinstance(refused.exception, Unauthorized)


async def test_a_stored_key_opens_only_a_hub_on_this_machine(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(KEY)
    async with open_test_hub() as hub:
        here, elsewhere = hub.url, hub.url.replace("127.0.0.1", "0.0.0.0")
        ask = partial(call, routers, "--json", "--data-dir", tmp_path, "--url")
        listed = await trio.to_thread.run_sync(ask, here)
        refused = await trio.to_thread.run_sync(ask, elsewhere)

    assert json.loads(listed.output) == []
    assert isinstance(refused.exception, Unauthorized)


PACKAGE = """
class Steady:
    \"\"\"Copies what it reads.

    And more.
    \"\"\"
    topics = ("in/", "more/")

class Configured:
    def __init__(self, to: str) -> None:
        self.topics = (to,)
"""


def test_each_installed_router_is_described_even_if_it_cannot_be_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "acme_routers.py").write_text(PACKAGE)
    info = tmp_path / "acme_routers-2.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-routers\nVersion: 2.1\n")
    (info / "entry_points.txt").write_text(
        "[hookbot.routers]\n"
        "steady = acme_routers:Steady\n"
        "configured = acme_routers:Configured\n"
        "broken = acme_routers_that_are_not_there:Broken\n"
    )
    monkeypatch.syspath_prepend(tmp_path)

    rows = {row["name"]: row for row in json.loads(call(routers, "--json").output)}

    assert {rows[name]["package"] for name in ("steady", "configured", "broken")} == {"acme-routers 2.1"}
    assert (rows["steady"]["topics"], rows["steady"]["about"]) == (["in/", "more/"], "Copies what it reads.")
    assert (rows["configured"]["topics"], rows["configured"]["about"]) == (["as configured"], "")
    assert rows["broken"]["topics"] == []
    assert rows["broken"]["about"].startswith("cannot be imported: ModuleNotFoundError")


def test_a_new_router_is_written_and_the_next_steps_are_printed(tmp_path: Path) -> None:
    written = call(new_router, "my-thing", tmp_path / "new")

    *files, _, following = written.output.splitlines()
    assert written.exit_code == 0
    assert all(Path(file).is_file() for file in files)
    assert following.startswith(f"Next: cd {tmp_path / 'new'}; ")
