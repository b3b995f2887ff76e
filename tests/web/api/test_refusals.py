"""What was refused, on the fast path and in the app, as those see it who may see its topic."""

from pathlib import Path
from typing import Any

import pytest

from hookbot.access.tokens import make_token
from support import KEY, SECRET
from support.api import bearer, open_api
from support.hubs import WholeHub

PATH = "/hookbot/v1/refusals"
WRONG = make_token("another key", "/pub/acme/a")

pytestmark = pytest.mark.parametrize("door", [True, False], ids=["fast path", "app"])


async def listed(hub: WholeHub, path: str = "/", **query: Any) -> list[dict[str, Any]]:
    answer = await hub.http.get(PATH, params=query, headers=bearer(path))
    refusals: list[dict[str, Any]] = answer.raise_for_status().json()["refusals"]
    return refusals


async def test_a_refusal_tells_everything_but_the_token(tmp_path: Path, door: bool) -> None:
    async with open_api(tmp_path, door=door) as hub:
        for _ in range(2):
            await hub.post(f"/pub/acme/a?token={WRONG}", token=WRONG)
        [refusal] = await listed(hub)

    first, last = refusal.pop("time"), refusal.pop("last")
    assert first < last
    assert refusal.pop("reason").startswith("the token ")
    assert refusal == {
        "number": 2,
        "first": 1,
        "count": 2,
        "status": 401,
        "method": "POST",
        "path": "/pub/acme/a",
        "topic": "acme/a",
        "client": "127.0.0.1",
    }


async def test_refused_handshakes_paths_and_bodies_are_noted(tmp_path: Path, door: bool) -> None:
    async with open_api(tmp_path, door=door, max_body_bytes=10) as hub:
        async with hub.listen("/sub/acme/", "raw", token=WRONG):
            pass
        await hub.http.get("/pub/%ff")
        await hub.http.put("/pub/acme/a")
        await hub.post("/pub/acme/a", b"x" * 11, token=make_token(KEY, "/pub/acme/a"))
        await hub.http.get("/hookbot/v1/nothing")
        await hub.http.get(PATH, headers={"Authorization": f"Bearer {WRONG}"})
        refusals = await listed(hub)

    assert [(one["status"], one["method"], one["path"], one.get("topic")) for one in reversed(refusals)] == [
        (401, "GET", "/sub/acme/", "acme/"),
        (400, "GET", "/pub/%ff", None),
        (405, "PUT", "/pub/acme/a", "acme/a"),
        (413, "POST", "/pub/acme/a", "acme/a"),
        (401, "GET", PATH, None),
    ]


@pytest.mark.parametrize(
    ("path", "seen"),
    [
        ("/", ["/acme/a", "/other", "/unsafe/pub/acme", "/pub/%ff"]),
        ("/hookbot/v1/", ["/acme/a", "/other", "/unsafe/pub/acme", "/pub/%ff"]),
        ("/sub/", ["/acme/a", "/other"]),
        ("/sub/acme/", ["/acme/a"]),
        ("/unsafe/sub/acme", ["/unsafe/pub/acme"]),
        ("/sub/others/", []),
    ],
)
async def test_a_token_sees_only_refusals_of_its_topics(tmp_path: Path, door: bool, path: str, seen: list[str]) -> None:
    async with open_api(tmp_path, door=door, unsafe_prefixes=("x/",)) as hub:
        for target in reversed(("/acme/a", "/other", "/unsafe/pub/acme", "/pub/%ff")):
            await hub.http.post(target, headers={"Authorization": ""})

        assert [one["path"] for one in await listed(hub, path)] == seen


async def test_pages_topics_and_texts_are_chosen(tmp_path: Path, door: bool) -> None:
    async with open_api(tmp_path, door=door) as hub:
        for number in range(5):
            await hub.post(f"/pub/{'a' if number % 2 else 'b'}/{number}", token="wrong")
        page = (await hub.http.get(PATH, params={"limit": 3})).json()
        rest = (await hub.http.get(PATH, params={"limit": 3, "before": page["before"]})).json()

        assert [[one["path"][-1] for one in each["refusals"]] for each in (page, rest)] == [["4", "3", "2"], ["1", "0"]]
        assert (page["before"], rest["before"]) == (3, None)
        assert [one["topic"] for one in await listed(hub, topic="a/")] == ["a/3", "a/1"]
        assert [one["topic"] for one in await listed(hub, text="PUB/A/1")] == ["a/1"]
        assert (await hub.http.get(PATH, params={"limit": 9999})).status_code == 400


async def test_those_of_a_provider_are_chosen(tmp_path: Path, door: bool) -> None:
    source = f'[[sources]]\ntopic = "/unsafe/acme/"\nprovider = "github"\nsecrets = ["{SECRET}"]\n'
    async with open_api(tmp_path, door=door, text=source) as hub:
        for path in ("/unsafe/pub/acme/a", "/pub/acme/a"):
            await hub.http.post(path, headers={"Authorization": "Bearer wrong"})

        assert [one["path"] for one in await listed(hub, provider="github")] == ["/unsafe/pub/acme/a"]
        assert await listed(hub, provider="stripe") == []
