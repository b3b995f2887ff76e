"""Cursors and groups over the API."""

from pathlib import Path

import pytest

from hookbot.access.tokens import make_token
from hookbot.client import listen
from hookbot.protocol.message import Draft
from support import KEY
from support.api import audited, operated_hub


async def test_a_cursor_is_listed_moved_and_deleted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with operated_hub(tmp_path) as (running, client):
        await running.broker.publish(Draft("a", b"1"))
        query = {"path": "/sub/a", "name": "c"}
        async with listen(f"{running.url}/sub/a", token=make_token(KEY, "/sub/a"), cursor="c", since="all"):
            pass

        [listed] = (await client.get("/hookbot/v1/cursors")).json()["cursors"]
        moved = await client.post("/hookbot/v1/cursors", params={**query, "since": "now"})
        back = await client.post("/hookbot/v1/cursors", params={**query, "from": listed["position"][:-1] + "1"})
        gone = await client.delete("/hookbot/v1/cursors", params=query)
        again = await client.delete("/hookbot/v1/cursors", params=query)
        none = (await client.get("/hookbot/v1/cursors", params={"path": "/sub/a"})).json()["cursors"]

    assert (listed["path"], listed["name"], listed["lag"], listed["connected"]) == ("/sub/a", "c", 1, False)
    assert (listed["behind"], listed["behind_more"], listed["unacked"]) == (1, False, 0)
    assert listed["behind_s"] >= 0
    assert (moved.json()["lag"], moved.json()["behind"], moved.json()["behind_s"]) == (0, 0, 0)
    assert (back.status_code, back.json()["behind"]) == (200, 1)
    assert (gone.status_code, again.status_code, none) == (200, 404, [])
    of_it = {"by": "/", "client": "127.0.0.1", "path": "/sub/a", "cursor": "c"}
    assert audited(caplog) == [
        ("a cursor was moved", {**of_it, "position": moved.json()["position"]}),
        ("a cursor was moved", {**of_it, "position": back.json()["position"]}),
        ("a cursor was deleted", of_it),
    ]


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ({"path": "/sub/a"}, "the query parameter name is missing; add ?name=...\n"),
        ({"name": "c"}, "the query parameter path is missing; add ?path=...\n"),
        ({"path": "/sub/a", "name": "c", "kind": "queue"}, "kind has to be cursor or group, not 'queue'\n"),
    ],
)
async def test_a_cursor_that_is_not_named_is_not_deleted(tmp_path: Path, query: dict[str, str], text: str) -> None:
    async with operated_hub(tmp_path) as (_, client):
        answer = await client.delete("/hookbot/v1/cursors", params=query)

    assert (answer.status_code, answer.text) == (400, text)


@pytest.mark.parametrize(("method", "name"), [("POST", "sinse"), ("DELETE", "since"), ("GET", "kind")])
async def test_a_parameter_of_a_cursor_is_known_where_it_has_a_meaning(tmp_path: Path, method: str, name: str) -> None:
    async with operated_hub(tmp_path) as (_, client):
        answer = await client.request(method, "/hookbot/v1/cursors", params={name: "x"})

    assert (answer.status_code, answer.text.partition(":")[0]) == (400, f"unknown query parameter '{name}'")


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ({}, "the query parameter since is missing; add ?since=...\n"),
        ({"since": "all", "from": "x"}, "the query parameters since and from exclude each other; say one of them\n"),
        ({"from": "x"}, "not a message id: 'x'\n"),
    ],
)
async def test_a_cursor_is_moved_to_one_place_that_there_is(tmp_path: Path, query: dict[str, str], text: str) -> None:
    async with operated_hub(tmp_path) as (_, client):
        answer = await client.post("/hookbot/v1/cursors", params={"path": "/sub/a", "name": "c", **query})

    assert (answer.status_code, answer.text) == (400, text)
