"""The topics of a hub, as far as a token shows them."""

from pathlib import Path
from typing import Any

import pytest

from support import SECRET
from support.api import bearer, open_api, publish
from support.hubs import WholeHub

SOURCE = f"""
[[sources]]
topic = "/unsafe/stripe/"
provider = "stripe"
secrets = ["{SECRET}"]
"""


async def listed(hub: WholeHub, path: str = "/", **query: str) -> list[dict[str, Any]]:
    answer = await hub.http.get("/hookbot/v1/topics", params=query, headers=bearer(path))
    found: list[dict[str, Any]] = answer.raise_for_status().json()["topics"]
    return found


async def test_topics_are_listed_once_with_the_time_of_their_newest_message(tmp_path: Path) -> None:
    async with open_api(tmp_path, text=SOURCE) as hub:
        for topic in ("deploy", "acme/b", "acme/a", "deploy"):
            await publish(hub, topic)
        first, *others = await listed(hub)
        stored = await hub.stored()

    assert first["topic"] == "deploy"
    assert first["time"] == stored[-1].time.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    assert [one["topic"] for one in others] == ["acme/a", "acme/b", "/unsafe/stripe/"]
    assert others[-1]["time"] is None


@pytest.mark.parametrize(
    ("path", "query", "expected"),
    [
        ("/", {"topic": "acme/"}, ["acme/a"]),
        ("/", {"topic": "/unsafe/"}, ["/unsafe/stripe/"]),
        ("/sub/", {}, ["acme/a", "deploy"]),
        ("/sub/acme/", {"topic": "acme/"}, ["acme/a"]),
        ("/unsafe/sub/stripe/", {"topic": "/unsafe/stripe/"}, ["/unsafe/stripe/"]),
    ],
)
async def test_only_what_is_asked_for_and_the_token_shows_is_listed(
    tmp_path: Path, path: str, query: dict[str, str], expected: list[str]
) -> None:
    async with open_api(tmp_path, text=SOURCE) as hub:
        for topic in ("deploy", "acme/a"):
            await publish(hub, topic)
        assert [one["topic"] for one in await listed(hub, path, **query)] == expected


async def test_what_the_token_does_not_show_is_refused(tmp_path: Path) -> None:
    async with open_api(tmp_path) as hub:
        answer = await hub.http.get("/hookbot/v1/topics?topic=other/", headers=bearer("/sub/acme/"))
    assert answer.status_code == 403
