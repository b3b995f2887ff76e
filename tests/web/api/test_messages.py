"""Messages, as the log has stored them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from hookbot.access.tokens import make_token
from hookbot.hub.hub import RunningHub
from hookbot.hub.secret_store import StoredSecret
from hookbot.protocol.message import Draft
from support import KEY
from support.hubs import open_whole_hub

GITHUB = StoredSecret("the secret of the tests")


@asynccontextmanager
async def hub(tmp_path: Path) -> AsyncIterator[tuple[RunningHub, httpx.AsyncClient]]:
    client = {"headers": {"Authorization": f"Bearer {make_token(KEY, '/')}"}}
    async with open_whole_hub(tmp_path, client=client, routers=("github",), github_secrets=(GITHUB,)) as whole:
        yield whole.running, whole.http


async def test_a_message_can_be_looked_up_by_its_id(tmp_path: Path) -> None:
    async with hub(tmp_path) as (running, client):
        message = await running.broker.publish(Draft("/unsafe/a", b"hello"))

        found = await client.get(f"/hookbot/v1/messages/{message.id}")
        missing = await client.get(f"/hookbot/v1/messages/{message.id[:-1]}9")
        malformed = await client.get("/hookbot/v1/messages/7")

    assert (found.json()["topic"], found.json()["body"]) == ("/unsafe/a", "hello")
    assert (missing.status_code, malformed.status_code) == (404, 400)
