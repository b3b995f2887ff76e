"""A hub that is killed between storing a message and its answer: its sender comes again, and is answered."""

import json
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from hookbot.access.tokens import make_token
from hookbot.protocol.replies import Reply
from support import GUARD_S, KEY
from support.clients import WebSocket, connect
from support.commands import starting
from support.hubs import HubProcess

pytestmark = pytest.mark.slow

PATH = "/sub/cmd?reply&cursor=worker"


@asynccontextmanager
async def listener(hub: HubProcess) -> Any:
    """A websocket of a listener that acknowledges and replies."""
    async with await connect(hub.port) as client:
        token = make_token(KEY, "/sub/cmd")
        websocket = WebSocket(client, PATH, "hookbot.v1", headers=[("Authorization", f"Bearer {token}")])
        await websocket.ask()
        await websocket.accepted()
        await websocket.take()  # hello
        yield websocket


async def ask(hub: HubProcess) -> httpx.Response:
    headers = {"Authorization": f"Bearer {make_token(KEY, '/pub/cmd')}", "Idempotency-Key": "1"}
    async with httpx.AsyncClient(timeout=GUARD_S) as http:
        return await http.post(f"http://127.0.0.1:{hub.port}/pub/cmd?reply", headers=headers)


async def test_the_answer_to_a_killed_hub_is_given_to_the_next(tmp_path: Path) -> None:
    async with starting() as start:
        hub = HubProcess(start, tmp_path, "--reply", "cmd")
        await hub.start()
        async with listener(hub) as websocket, trio.open_nursery() as nursery:

            @nursery.start_soon
            async def wait_in_vain() -> None:
                with pytest.raises(httpx.TransportError):
                    await ask(hub)

            first = json.loads(await websocket.take())
            await hub.kill()

        await hub.start()
        answers: list[httpx.Response] = []
        async with listener(hub) as websocket, trio.open_nursery() as nursery:

            @nursery.start_soon
            async def come_again() -> None:
                answers.append(await ask(hub))

            # It was not acknowledged; whoever has done it already, or does it now, says what has become of it.
            again = json.loads(await websocket.take())
            await websocket.send(Reply(200, (), b"done").to_frame(again["id"]))

        await hub.kill()
        await hub.start()
        answers.append(await ask(hub))

    assert again["id"] == first["id"]
    assert [answer.text for answer in answers] == ["done", "done"]
    assert {answer.headers["hookbot-message-id"] for answer in answers} == {first["id"]}
