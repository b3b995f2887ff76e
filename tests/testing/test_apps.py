"""Apps that are served for a test."""

import logging
from collections.abc import Iterable
from logging.handlers import QueueHandler
from queue import SimpleQueue
from typing import Any

import httpx
import pytest
import quart
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from werkzeug.wrappers import Request as WerkzeugRequest
from werkzeug.wrappers import Response as WerkzeugResponse

from hookbot.testing import serving
from support import GUARD_S


def wsgi(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    request = WerkzeugRequest(environ)
    response = WerkzeugResponse(request.get_data()[::-1], 201, {"X-Path": request.path})
    return response(environ, start_response)


async def turn(request: Request) -> PlainTextResponse:
    body = await request.body()
    return PlainTextResponse(body[::-1].decode(), 201, {"X-Path": request.url.path})


def quart_app() -> quart.Quart:
    app = quart.Quart("app")

    @app.post("/a/b")
    async def turn() -> tuple[bytes, int, dict[str, str]]:
        return b"".join([part async for part in quart.request.body])[::-1], 201, {"X-Path": quart.request.path}

    return app


@pytest.mark.parametrize(
    "app", [wsgi, Starlette(routes=[Route("/a/b", turn, methods=["POST"])]), quart_app()], ids=["wsgi", "asgi", "quart"]
)
def test_an_app_is_served_until_the_block_ends(app: Any) -> None:
    with serving(app) as url:
        answers = [httpx.post(f"{url}/a/b", content=b"x" * 100_000 + b"1") for _ in range(2)]

    assert {(answer.status_code, answer.headers["X-Path"], answer.content[:2]) for answer in answers} == {
        (201, "/a/b", b"1x")
    }
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)


def test_an_app_may_read_to_the_end_and_answer_nothing() -> None:
    read = []

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        read.append(environ["wsgi.input"].read())
        start_response("204 No Content", [])
        return []

    with serving(app) as url:
        statuses = [httpx.post(url, content=content).status_code for content in (b"1", iter([b"2", b"3"]), b"")]

    assert (statuses, read) == ([204] * 3, [b"1", b"23", b""])


def test_a_connection_that_is_left_open_holds_up_nothing() -> None:
    with httpx.Client() as client, serving(wsgi) as url:
        assert client.post(f"{url}/a", content=b"1").status_code == 201


async def fail(request: Request) -> PlainTextResponse:
    raise ZeroDivisionError("mine")


def fail_now(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    raise ZeroDivisionError("mine")


@pytest.mark.parametrize("app", [Starlette(routes=[Route("/", fail)]), fail_now], ids=["asgi", "wsgi"])
def test_an_error_of_a_request_is_a_500_and_is_logged(app: Any) -> None:
    logged: SimpleQueue[logging.LogRecord] = SimpleQueue()
    logging.getLogger().addHandler(QueueHandler(logged))

    with serving(app) as url:
        assert httpx.get(url).status_code == 500
        # It may be logged after it was answered.
        assert "ZeroDivisionError: mine" in error_in(logged)


def error_in(logged: SimpleQueue[logging.LogRecord]) -> str:
    """The next error, formatted; the client logs, too."""
    while (record := logged.get(timeout=GUARD_S)).levelno < logging.ERROR:
        pass
    return record.getMessage()


def test_a_lifespan_begins_and_ends_with_the_block() -> None:
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while scope["type"] == "lifespan":
            event = (await receive())["type"]
            seen.append(event)
            await send({"type": f"{event}.complete"})
            if event == "lifespan.shutdown":
                return
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    with serving(app) as url:
        assert httpx.get(url).status_code == 204
        assert seen == ["lifespan.startup"]

    assert seen == ["lifespan.startup", "lifespan.shutdown"]


def test_an_app_that_cannot_start_is_told() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})

    with pytest.raises(Exception, match="no database"), serving(app):
        pass
