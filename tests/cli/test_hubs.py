"""``hookbot hubs``."""

import json
from pathlib import Path
from typing import Any

import pytest
import trio
from click.testing import CliRunner, Result

from hookbot.cli.hubs import hubs
from hookbot.hub.secret_store import StoredSecret
from hookbot.log.postgres_address import PostgresAddress
from support.commands import Caller
from support.hubs import open_whole_hub
from support.postgres import PostgresServer, new_schema


@pytest.fixture
def shared(postgres: PostgresServer) -> str:
    """The URL of a new database."""
    return f"{postgres.url}?schema={new_schema()}"


def call(*words: Any) -> Result:
    return CliRunner().invoke(hubs, [*map(str, words)])


async def test_hubs_are_listed_with_what_differs(shared: str, tmp_path: Path) -> None:
    store, secrets = PostgresAddress.parse(shared), (StoredSecret("the secret of the tests"),)
    both: dict[str, Any] = {"store": store, "routers": ("github",), "github_secrets": secrets}
    (tmp_path / "hub.toml").write_text(f"store = '{shared}'\nkeep = '1d'\n")
    async with (
        open_whole_hub(tmp_path, **both, advertise="http://10.0.0.5:8080"),
        open_whole_hub(tmp_path, **both, max_body_bytes=1 << 20),
    ):
        table = await trio.to_thread.run_sync(call, "--config", tmp_path / "hub.toml")
        listed = await trio.to_thread.run_sync(call, "--store", shared, "--json")

    header, first, second = table.output.splitlines()
    rows = json.loads(listed.output)
    assert header.split() == ["HUB", "VERSION", "SINCE", "SEEN", "LAG", "DUTIES", "DIFFERS", "POSITION"]
    assert first.startswith("http://10.0.0.5:8080  ")
    assert second.startswith(rows[1]["id"])
    assert [row["differs"] for row in rows] == [[], ["max-body"]]
    assert [row["trims"] for row in rows].count(True) == 1
    assert {tuple(row["routers"]) for row in rows} == {("github",), ()}


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ([], 2, "Needs --store, or --config with one."),
        (["--store", "memory:"], 2, "a store 'memory:' has one hub: hubs share one that begins with postgresql://"),
        (["--config", "hub.toml"], 2, "a store 'sqlite:' has one hub"),
        (["--store", "postgresql://u:s3cret@127.0.0.1:1/db"], 4, "the hub cannot reach its log"),
    ],
)
@pytest.mark.usefixtures("directory")
def test_what_cannot_be_done_is_said(call: Caller, tmp_path: Path, words: list[str], code: int, said: str) -> None:
    (tmp_path / "hub.toml").write_text("keep = '1d'")

    ended, _, err = call("hubs", *words)

    assert ended == code
    assert said in err
    assert "s3cret" not in err


def test_a_store_in_a_variable_is_used(call: Caller, shared: str) -> None:
    code, _, err = call("hubs", HOOKBOT_STORE=shared)

    assert code == 2
    assert "there is no log in" in err
