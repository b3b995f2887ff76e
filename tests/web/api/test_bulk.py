"""What publishes again and what deletes many messages: both select the same, and end with their token."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from hookbot.broker.broker import Broker
from hookbot.broker.deletions import Deletions
from support.api import narrowed, open_api, publish
from support.hubs import WholeHub

OPERATIONS = [("POST", "redeliver"), ("DELETE", "messages")]

both = pytest.mark.parametrize(("method", "path"), OPERATIONS)


async def last_line(
    hub: WholeHub, method: str, path: str, headers: Mapping[str, str] | None = None, **query: str
) -> Any:
    parameters = {"topic": "a", **{name.rstrip("_"): value for name, value in query.items()}}
    headers = {"Accept": "application/json", **(headers or {})}
    response = await hub.http.request(method, f"/hookbot/v1/{path}", params=parameters, headers=headers)
    return json.loads(response.text.splitlines()[-1])


@both
async def test_a_range_begins_and_ends_with_a_message(tmp_path: Path, method: str, path: str) -> None:
    async with open_api(tmp_path) as hub:
        ids = [(await publish(hub, "a", n)).id for n in range(5)]
        far = f"{ids[0][:9]}{10**14:015d}"

        beyond = await last_line(hub, method, path, from_=ids[4], until=far)
        within = await last_line(hub, method, path, from_=ids[1], until=ids[2])
        nothing = await last_line(hub, method, path, from_=far)
        other = await last_line(hub, method, path, until="otherlog-000000000000001")

    assert [line["done"] for line in (beyond, within, nothing)] == [1, 2, 0]
    assert other["status"] == 404


@both
async def test_a_range_begins_and_ends_at_a_time(tmp_path: Path, method: str, path: str) -> None:
    now_us = [1_700_000_000_000_000]
    async with open_api(tmp_path, clock=lambda: now_us[0]) as hub:
        for n in range(5):
            await publish(hub, "a", n)
            now_us[0] += 3_600_000_000

        within = await last_line(hub, method, path, from_="2023-11-14T23:13:20Z", until="2h")
        oldest = await last_line(hub, method, path, from_="all", until="5h")
        neither = await last_line(hub, method, path, until="yesterday")

    assert (within["done"], oldest["done"]) == (2, 0)
    assert neither["detail"].startswith("until must be an id, a duration")


@both
async def test_what_cannot_be_compared_stops_it(tmp_path: Path, method: str, path: str) -> None:
    where = f"body == `1` && ({'|'.join(['[@,@][]'] * 30)}) || topic"
    async with open_api(tmp_path) as hub:
        for n in range(2):
            await publish(hub, "a", n)

        line = await last_line(hub, method, path, where=where)

        assert "where takes too long for some" in line["detail"]
        assert [message.replay_of for message in await hub.stored()] == [None, None]


@both
async def test_it_ends_with_its_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, path: str) -> None:
    now_us = [1_700_000_000_000_000]
    token = {"Authorization": f"Bearer {narrowed('/', expires='1700000100')}"}
    async with open_api(tmp_path, clock=lambda: now_us[0]) as hub:
        for n in range(2):
            await publish(hub, "a", n)
        for module in ("redelivery", "deletion"):
            monkeypatch.setattr(f"hookbot.web.api.{module}._AT_ONCE", 1)
        for kind, step in ((Broker, "commit"), (Deletions, "take_out")):
            whole = getattr(kind, step)

            async def expire(*arguments: Any, whole: Any = whole, **options: Any) -> Any:
                now_us[0] += 200_000_000
                return await whole(*arguments, **options)

            monkeypatch.setattr(kind, step, expire)
        line = await last_line(hub, method, path, token)

    assert (line["type"], line["done"]) == ("error", 1)
    assert "no longer valid" in line["detail"]
