"""The quotas of a hub: what is used of them, and who sees it."""

from pathlib import Path

from hookbot.access.tokens import make_token
from support import KEY
from support.api import bearer, open_api

PATH = "/hookbot/v1/quotas"
QUOTAS = """
[quotas."team/"]
publishes = "2/h"
bytes = "1KB/h"
subscribers = 5
cursors = 1

[quotas.""]
publishes = "1000/s"
"""


async def test_a_quota_tells_what_is_used_of_it_and_what_was_refused(tmp_path: Path) -> None:
    async with open_api(tmp_path, text=QUOTAS) as hub:
        for _ in range(3):
            await hub.post("/pub/team/x", b"12345", token=make_token(KEY, "/"))
        async with hub.listen("/sub/team/x?cursor=c", "v1"), hub.listen("/sub/team/?cursor=d", "v1"):
            answer = (await hub.http.get(PATH)).json()

    shown = {(one["prefix"], one["kind"]): one for one in answer["quotas"]}
    assert shown["team/", "publishes"] == {
        "prefix": "team/",
        "kind": "publishes",
        "limit": 2,
        "period_s": 3600,
        "written": "2/h",
        "used": 2,
        "refused": 1,
    }
    assert shown["team/", "bytes"]["used"] == 10
    assert (shown["team/", "subscribers"]["used"], shown["team/", "subscribers"]["period_s"]) == (1, None)
    assert (shown["team/", "cursors"]["used"], shown["team/", "cursors"]["refused"]) == (1, 1)
    assert ("", "publishes") in shown


async def test_a_token_for_topics_shows_the_quotas_of_these(tmp_path: Path) -> None:
    async with open_api(tmp_path, text=QUOTAS) as hub:

        async def seen(path: str) -> set[str]:
            answer = await hub.http.get(PATH, headers=bearer(path))
            return {one["prefix"] for one in answer.raise_for_status().json()["quotas"]}

        assert await seen("/sub/team/") == {"team/"}
        assert await seen("/sub/team/x") == await seen("/sub/other/") == set()
        assert await seen("/sub/") == await seen("/hookbot/v1/quotas") == {"team/", ""}
