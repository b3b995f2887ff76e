"""Paths of the API, each with a token of its own."""

from pathlib import Path

import pytest

from hookbot.access.tokens import make_token
from support import KEY
from support.api import operated_hub


@pytest.mark.parametrize(
    "path", ["/metrics", "/hookbot/v1/routers", "/hookbot/v1/cursors", "/hookbot/v1/hubs", "/hookbot/v1/messages/x"]
)
async def test_each_path_needs_a_token_of_its_own(tmp_path: Path, path: str) -> None:
    async with operated_hub(tmp_path) as (_, client):
        without = await client.get(path, headers={"Authorization": ""})
        other = await client.get(path, headers={"Authorization": f"Bearer {make_token(KEY, '/pub/')}"})
        own = await client.get(path, headers={"Authorization": f"Bearer {make_token(KEY, path)}"})

    assert (without.status_code, other.status_code) == (401, 401)
    assert own.status_code != 401


@pytest.mark.parametrize(
    "path", ["/metrics", "/hookbot/v1/routers", "/hookbot/v1/cursors", "/hookbot/v1/hubs", "/hookbot/v1/messages/x"]
)
async def test_a_parameter_that_is_unknown_is_refused(tmp_path: Path, path: str) -> None:
    async with operated_hub(tmp_path) as (_, client):
        answer = await client.get(path, params={"pth": "/sub/a", "token": "x"})

    assert (answer.status_code, answer.text.partition(":")[0]) == (400, "unknown query parameter 'pth'")
