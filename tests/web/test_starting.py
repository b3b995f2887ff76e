"""The app of a hub without a log: its health checks, and that everything else is asked to come again."""

import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import trustme

from hookbot.access.tokens import make_token
from hookbot.web.starting import WAITING, create_starting_app
from support import GUARD_S, KEY
from support.apps import ServedApp, open_app
from support.hubs import open_whole_hub

TOKEN = make_token(KEY, "/pub/x").encode()
CLOSE = b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


@pytest.fixture
async def app() -> AsyncIterator[ServedApp]:
    async with open_app(create_starting_app()) as app:
        yield app


@pytest.mark.parametrize("request_line", [b"GET /healthz", b"GET /status", b"HEAD /healthz", b"GET /status?x=y"])
async def test_health_checks_say_the_same_as_of_a_running_hub(
    request_line: bytes, app: ServedApp, tmp_path: Path
) -> None:
    def undated(answer: bytes) -> set[bytes]:
        return {line for line in answer.split(b"\r\n") if not line.startswith(b"date: ")}

    async with open_whole_hub(tmp_path, door=False) as hub:
        running = ServedApp(app.server, hub.port, None)
        assert undated(await app.ask(request_line + CLOSE)) == undated(await running.ask(request_line + CLOSE))


@pytest.mark.parametrize(
    "request_head",
    [
        b"GET /readyz HTTP/1.1\r\nHost: x",
        b"POST /healthz HTTP/1.1\r\nHost: x",
        b"POST /pub/x HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + TOKEN,
        b"POST /unsafe/pub/x HTTP/1.0",
        b"GET /sub/x HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream",
        b"GET /metrics HTTP/1.1\r\nHost: x",
        b"GET /%ff//../x HTTP/1.1\r\nHost: x",
        b"PROPFIND / HTTP/1.1\r\nHost: x",
    ],
)
async def test_everything_else_is_asked_to_come_again_on_another_connection(
    request_head: bytes, app: ServedApp
) -> None:
    client = await app.connect()
    await client.send(request_head + b"\r\n\r\n")
    answer = await client.answer()

    assert (answer.status, answer.body) == (503, f"{WAITING}\n".encode())
    assert answer.headers["retry-after"] == "1"
    await client.closed()


async def test_a_sender_of_a_body_is_answered_without_being_read(app: ServedApp) -> None:
    client = await app.connect()
    await client.send(b"POST /pub/x HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + bytes(1_000_000))
    assert (await client.answer()).status == 503
    await client.closed()


async def test_a_client_that_speaks_json_is_told_in_json(app: ServedApp) -> None:
    answer = await app.ask(b"GET /sub/x HTTP/1.1\r\nHost: x\r\nAccept: application/json\r\n\r\n")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["detail"] == WAITING


async def test_a_websocket_is_refused_with_the_same_status(app: ServedApp) -> None:
    websocket = await app.websocket("/sub/x")
    await websocket.answered()
    assert (websocket.status, websocket.headers["retry-after"]) == (503, "1")


async def test_a_client_of_http2_is_told_too(tmp_path: Path) -> None:
    authority, file = trustme.CA(), str(tmp_path / "hub.pem")
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(file)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    verify = ssl.create_default_context(cafile=tmp_path / "ca.pem")
    async with (
        open_app(create_starting_app(), certificate=file) as app,
        httpx.AsyncClient(base_url=f"https://127.0.0.1:{app.port}", verify=verify, http2=True, timeout=GUARD_S) as http,
    ):
        answers = [await http.get("/status"), await http.post("/pub/x", content=b"x")]

    assert [(answer.http_version, answer.status_code) for answer in answers] == [("HTTP/2", 200), ("HTTP/2", 503)]
