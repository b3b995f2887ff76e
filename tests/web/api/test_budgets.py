"""Budgets: what is kept of which topics, and how full that is."""

from pathlib import Path
from typing import Any

from hookbot.log.retention import Budget, Retention
from hookbot.protocol.message import Draft
from support.api import bearer, open_api
from support.hubs import WholeHub

PATH = "/hookbot/v1/budgets"
RETENTION = Retention(
    max_age_s=60, max_bytes=None, sections=(Budget("logs/", 3600, 1000, 1), Budget("team/x/", 2, 3, 4))
)


async def listed(hub: WholeHub, path: str = "/") -> dict[str, dict[str, Any]]:
    answer = await hub.http.get(PATH, headers=bearer(path))
    return {one.pop("prefix"): one for one in answer.raise_for_status().json()["budgets"]}


async def test_each_budget_tells_its_limits_and_what_it_holds(tmp_path: Path) -> None:
    async with open_api(tmp_path, retention=RETENTION) as hub:
        for topic in ("a", "logs/a", "logs/b"):
            await hub.running.broker.publish(Draft(topic, b"hello"))
        while await hub.running.broker.log.trim(RETENTION, now_us=0):
            pass

        budgets = await listed(hub)

    assert list(budgets) == ["", "/unsafe/", "logs/", "team/x/"]
    logs = budgets["logs/"]
    assert (logs["messages"], logs["keep_s"], logs["keep_count"], logs["keep_bytes"]) == (1, 3600, 1, 1000)
    assert logs["bytes"] > 5
    assert logs["oldest"].endswith("Z")
    assert (budgets[""]["messages"], budgets[""]["keep_bytes"], budgets[""]["keep_count"]) == (1, None, None)
    assert budgets["team/x/"] == {
        "messages": 0,
        "bytes": 0,
        "oldest": None,
        "keep_s": 2,
        "keep_count": 4,
        "keep_bytes": 3,
    }


async def test_a_token_shows_the_budgets_of_its_topics(tmp_path: Path) -> None:
    async with open_api(tmp_path, retention=RETENTION) as hub:
        narrowed = await hub.http.get(PATH, headers=bearer("/sub/team/"))

    assert [one["prefix"] for one in narrowed.json()["budgets"]] == ["team/x/"]
