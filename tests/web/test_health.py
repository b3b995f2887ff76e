"""The operators' paths, over real sockets."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from hookbot.access.tokens import make_token
from hookbot.client import listen
from hookbot.hub.hub import RunningHub
from hookbot.hub.secret_store import StoredSecret
from hookbot.log.postgres_address import PostgresAddress
from hookbot.protocol.message import Draft, format_id
from support import KEY
from support.hubs import open_whole_hub
from support.postgres import PostgresServer, new_schema

GITHUB = StoredSecret("the secret of the tests")


@asynccontextmanager
async def hub(tmp_path: Path) -> AsyncIterator[tuple[RunningHub, httpx.AsyncClient]]:
    client = {"headers": {"Authorization": f"Bearer {make_token(KEY, '/')}"}}
    async with open_whole_hub(tmp_path, client=client, routers=("github",), github_secrets=(GITHUB,)) as whole:
        yield whole.running, whole.http


@pytest.mark.parametrize(
    "path", ["/metrics", "/hookbot/v1/routers", "/hookbot/v1/cursors", "/hookbot/v1/hubs", "/hookbot/v1/messages/x"]
)
async def test_each_path_needs_a_token_of_its_own(tmp_path: Path, path: str) -> None:
    async with hub(tmp_path) as (_, client):
        without = await client.get(path, headers={"Authorization": ""})
        other = await client.get(path, headers={"Authorization": f"Bearer {make_token(KEY, '/pub/')}"})
        own = await client.get(path, headers={"Authorization": f"Bearer {make_token(KEY, path)}"})

    assert (without.status_code, other.status_code) == (401, 401)
    assert own.status_code != 401


async def test_metrics_count_what_was_published_and_refused(tmp_path: Path) -> None:
    async with hub(tmp_path) as (_, client):
        await client.post("/pub/a", content=b"12345")
        await client.post("/pub/a", content=b"", headers={"Authorization": ""})
        await client.put("/pub/a")

        metrics = (await client.get("/metrics")).text.splitlines()

    assert {
        "hookbot_published_total 1.0",
        "hookbot_published_bytes_total 5.0",
        'hookbot_refused_total{status="401"} 1.0',
        'hookbot_refused_total{status="405"} 1.0',
        'hookbot_router_lag{router="github"} 0.0',
    } <= set(metrics)


async def test_a_message_can_be_looked_up_by_its_id(tmp_path: Path) -> None:
    async with hub(tmp_path) as (running, client):
        message = await running.broker.publish(Draft("/unsafe/a", b"hello"))

        found = await client.get(f"/hookbot/v1/messages/{message.id}")
        missing = await client.get(f"/hookbot/v1/messages/{message.id[:-1]}9")
        malformed = await client.get("/hookbot/v1/messages/7")

    assert (found.json()["topic"], found.json()["body"]) == ("/unsafe/a", "hello")
    assert (missing.status_code, malformed.status_code) == (404, 400)


async def test_the_routers_tell_how_they_are(tmp_path: Path) -> None:
    async with hub(tmp_path) as (_, client):
        [router] = (await client.get("/hookbot/v1/routers")).json()["routers"]

    assert (router["name"], router["state"], router["lag"]) == ("github", "running", 0)


async def test_the_hubs_of_a_shared_store_are_listed(tmp_path: Path, postgres: PostgresServer) -> None:
    client = {"headers": {"Authorization": f"Bearer {make_token(KEY, '/')}"}}
    store = PostgresAddress.parse(f"{postgres.url}?schema={new_schema()}")
    async with open_whole_hub(tmp_path, store=store, client=client, advertise="http://10.0.0.5:8080") as whole:
        await whole.running.broker.publish(Draft("a", b"1"))

        found = (await whole.http.get("/hookbot/v1/hubs")).json()

    assert found["head"] == format_id(whole.running.broker.log.epoch, 1)
    assert [hub["url"] for hub in found["hubs"]] == ["http://10.0.0.5:8080"]


async def test_a_hub_that_shares_no_store_lists_none(tmp_path: Path) -> None:
    async with hub(tmp_path) as (_, client):
        assert (await client.get("/hookbot/v1/hubs")).json()["hubs"] == []


async def test_a_cursor_is_listed_moved_and_deleted(tmp_path: Path) -> None:
    async with hub(tmp_path) as (running, client):
        await running.broker.publish(Draft("a", b"1"))
        query = {"path": "/sub/a", "name": "c"}
        async with listen(f"{running.url}/sub/a", token=make_token(KEY, "/sub/a"), cursor="c", since="all"):
            pass

        [listed] = (await client.get("/hookbot/v1/cursors")).json()["cursors"]
        moved = await client.post("/hookbot/v1/cursors", params={**query, "since": "now"})
        gone = await client.delete("/hookbot/v1/cursors", params=query)
        again = await client.delete("/hookbot/v1/cursors", params=query)
        none = (await client.get("/hookbot/v1/cursors", params={"path": "/sub/a"})).json()["cursors"]

    assert (listed["path"], listed["name"], listed["lag"], listed["connected"]) == ("/sub/a", "c", 1, False)
    assert moved.json()["lag"] == 0
    assert (gone.status_code, again.status_code, none) == (200, 404, [])


async def test_health_needs_no_token(tmp_path: Path) -> None:
    async with hub(tmp_path) as (_, client):
        answers = [await client.get(path, headers={"Authorization": ""}) for path in ("/status", "/healthz", "/readyz")]

    assert [(answer.status_code, answer.text) for answer in answers] == [(200, "OK\n"), (200, "ok\n"), (200, "ok\n")]


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ({"path": "/sub/a"}, "the query parameter name is missing; add ?name=...\n"),
        ({"name": "c"}, "the query parameter path is missing; add ?path=...\n"),
        ({"path": "/sub/a", "name": "c", "kind": "queue"}, "kind has to be cursor or group, not 'queue'\n"),
    ],
)
async def test_a_cursor_that_is_not_named_is_not_deleted(tmp_path: Path, query: dict[str, str], text: str) -> None:
    async with hub(tmp_path) as (_, client):
        answer = await client.delete("/hookbot/v1/cursors", params=query)

    assert (answer.status_code, answer.text) == (400, text)


@pytest.mark.parametrize(
    "path", ["/metrics", "/hookbot/v1/routers", "/hookbot/v1/cursors", "/hookbot/v1/hubs", "/hookbot/v1/messages/x"]
)
async def test_a_parameter_that_is_unknown_is_refused(tmp_path: Path, path: str) -> None:
    async with hub(tmp_path) as (_, client):
        answer = await client.get(path, params={"pth": "/sub/a", "token": "x"})

    assert (answer.status_code, answer.text.partition(":")[0]) == (400, "unknown query parameter 'pth'")


@pytest.mark.parametrize(("method", "name"), [("POST", "sinse"), ("DELETE", "since"), ("GET", "kind")])
async def test_a_parameter_of_a_cursor_is_known_where_it_has_a_meaning(tmp_path: Path, method: str, name: str) -> None:
    async with hub(tmp_path) as (_, client):
        answer = await client.request(method, "/hookbot/v1/cursors", params={name: "x"})

    assert (answer.status_code, answer.text.partition(":")[0]) == (400, f"unknown query parameter '{name}'")
