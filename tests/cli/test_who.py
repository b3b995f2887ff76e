"""``hookbot who``."""

import json
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import trio
from click.testing import CliRunner

from hookbot.cli.who import who
from hookbot.client import listen
from hookbot.errors import NotFound, Refused
from hookbot.testing import open_test_hub
from hookbot.testing.hub import TestHub
from hookbot.web.api import subscriptions


@pytest.fixture
def call(tmp_path: Path) -> Callable[..., Any]:
    """Function that calls the command in a thread, and returns what it prints."""

    async def call(hub: TestHub, *words: str) -> str:
        given = {"key": None, "github_secret": None}
        arguments = ["--url", hub.url_for("/"), "--data-dir", str(tmp_path), *words]
        result = await trio.to_thread.run_sync(lambda: CliRunner().invoke(who, arguments, obj=given))
        if result.exception:
            raise result.exception
        return str(result.output)

    return call


async def test_who_listens_is_shown_as_a_table_and_as_json(call: Callable[..., Any]) -> None:
    async with (
        open_test_hub() as hub,
        listen(hub.url_for("/sub/a"), cursor="c"),
        listen(hub.url_for("/sub/b/")),
    ):
        table, listed, some = await call(hub), await call(hub, "--json"), await call(hub, "--path", "/sub/b/")

    header, first, second = table.splitlines()
    assert header.split() == ["PATH", "FORMAT", "CLIENT", "SINCE", "TOKEN", "BEHIND", "ID"]
    assert {first.split()[0], second.split()[0]} == {"/sub/a", "/sub/b/"}
    assert "/sub/a (cursor c)" in table
    assert {row["path"] for row in json.loads(listed)} == {"/sub/a", "/sub/b/"}
    assert [line.split()[0] for line in some.splitlines()[1:]] == ["/sub/b/"]


async def test_all_pages_are_listed(call: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscriptions, "MAX_LISTED", 2)
    async with open_test_hub() as hub, AsyncExitStack() as stack:
        assert json.loads(await call(hub, "--json")) == []
        for number in range(5):
            await stack.enter_async_context(listen(hub.url_for(f"/sub/{number}")))
        listed = json.loads(await call(hub, "--json"))

    assert {row["path"] for row in listed} == {f"/sub/{number}" for number in range(5)}


async def test_who_is_ended_does_not_come_back(call: Callable[..., Any]) -> None:
    async with open_test_hub() as hub, listen(hub.url_for("/sub/a")) as messages:
        [one] = json.loads(await call(hub, "--json"))

        assert await call(hub, "--end", one["id"]) == ""
        with pytest.raises(Refused, match="an operator has ended this subscription"):
            await anext(aiter(messages))
        with pytest.raises(NotFound):
            await call(hub, "--end", one["id"])
