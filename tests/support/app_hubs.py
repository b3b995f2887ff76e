"""Whole hubs as the tests of the app use them: what is published, and streams over HTTP."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from hookbot.access.tokens import make_token
from hookbot.hub.hub import RunningHub
from hookbot.protocol.message import Draft, Message
from support import KEY
from support.clients import Stream, connect
from support.hubs import open_whole_hub


@asynccontextmanager
async def hub(tmp_path: Path, **options: Any) -> AsyncIterator[tuple[RunningHub, httpx.AsyncClient]]:
    async with open_whole_hub(tmp_path, **{"heartbeat_s": 60.0, **options}) as whole:
        yield whole.running, whole.http


def auth(path: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {make_token(KEY, path)}"}


@asynccontextmanager
async def streaming(running: RunningHub, target: str, headers: dict[str, str]) -> AsyncIterator[Stream]:
    async with await connect(urlsplit(running.url).port or 0) as client:
        stream = Stream(client, target, headers.items())
        await stream.ask()
        yield await stream.answered()


async def publish(running: RunningHub, *bodies: Any, topic: str = "a") -> list[Message]:
    messages = [await running.broker.publish(Draft(topic, body)) for body in bodies]
    return [message for message in messages if isinstance(message, Message)]
