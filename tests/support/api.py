"""The API of a hub in this process, as clients with different tokens ask it."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from hookbot.access.narrowed_tokens import NarrowedToken
from hookbot.access.tokens import make_token
from hookbot.hub.hub import RunningHub
from hookbot.hub.logging_setup import fields_of
from hookbot.hub.secret_store import StoredSecret
from hookbot.protocol.message import Draft, Message
from support import KEY
from support.hubs import WholeHub, open_whole_hub

GITHUB = StoredSecret("the secret of the tests")
BY_PAGE = {"Hookbot-Console": "1", "Sec-Fetch-Site": "same-origin"}
"""Headers with which a page of the console asks for a change."""


def narrowed(path: str, **caveats: str) -> str:
    """A narrowed token for a path."""
    token = NarrowedToken.of(make_token(KEY, path), path)
    for name, value in caveats.items():
        token = token.narrow(name, value)
    return str(token)


def bearer(path: str) -> dict[str, str]:
    """The header with a narrowed token for a path."""
    return {"Authorization": f"Bearer {narrowed(path)}"}


@asynccontextmanager
async def open_api(tmp_path: Path, **options: Any) -> AsyncIterator[WholeHub]:
    """A hub whose client is an operator, unless a request has another token."""
    async with open_whole_hub(tmp_path, client={"headers": bearer("/")}, **options) as whole:
        yield whole


@asynccontextmanager
async def operated_hub(tmp_path: Path) -> AsyncIterator[tuple[RunningHub, httpx.AsyncClient]]:
    """A hub with a GitHub router, and its operator's client, who has the plain token for everything."""
    client = {"headers": {"Authorization": f"Bearer {make_token(KEY, '/')}"}}
    async with open_whole_hub(tmp_path, client=client, routers=("github",), github_secrets=(GITHUB,)) as whole:
        yield whole.running, whole.http


async def sign_in(client: httpx.AsyncClient, path: str, headers: Mapping[str, str] = {}) -> httpx.Response:
    """Sign in with the plain token for a path; the client keeps the cookie."""
    fields = {**BY_PAGE, "Authorization": f"Bearer {make_token(KEY, path)}", **headers}
    return await client.post("/hookbot/sign-in", params={"path": path}, headers=fields)


async def publish(hub: WholeHub, topic: str, body: Any = None, **fields: Any) -> Message:
    """Publish a message with a JSON body, or with these bytes."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    stored = await hub.running.broker.publish(Draft(topic, data, **fields))
    assert isinstance(stored, Message)
    return stored


async def asked(hub: WholeHub, path: str, headers: Mapping[str, str] | None = None, **query: Any) -> Any:
    """The JSON that the API answers to a GET."""
    response = await hub.http.get(f"/hookbot/v1/{path}", params=query, headers=headers)
    assert response.status_code == 200, response.text
    return response.json()


def audited(caplog: pytest.LogCaptureFixture) -> list[tuple[str, dict[str, Any]]]:
    """The lines of the audit log: what was done, and its fields."""
    records = [record for record in caplog.records if record.name == "hookbot.audit"]
    return [(record.getMessage(), dict(fields_of(record))) for record in records]
