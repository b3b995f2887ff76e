"""Calls of an ASGI app, in the access log."""

import logging
from collections.abc import Callable
from typing import Any

import pytest
import trio

from hookbot.hub.logging_setup import fields_of
from hookbot.web.asgi.logged import call_logged

SCOPE = {
    "type": "http",
    "method": "GET",
    "raw_path": b"/sub/a",
    "query_string": b"",
    "headers": [],
    "scheme": "http",
    "client": ("192.0.2.1", 1),
}


async def call(app: Callable[..., Any]) -> None:
    async def receive() -> None:
        await trio.sleep_forever()

    async def send(message: Any) -> None:
        await trio.lowlevel.checkpoint()

    await call_logged(app, dict(SCOPE), receive, send)


@pytest.fixture(autouse=True)
def asked_for(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "hookbot.access_log")


def answered(caplog: pytest.LogCaptureFixture) -> dict[str, Any]:
    """The fields of the only line, but for those of the request."""
    [record] = caplog.records
    return {name: value for name, value in fields_of(record).items() if name in ("status", "bytes", "message_id")}


@pytest.mark.parametrize("kind", ["http", "websocket.http"])
async def test_the_parts_of_a_response_are_one_line(caplog: pytest.LogCaptureFixture, kind: str) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"Hookbot-Message-Id", b"abc-1")]
        await send({"type": f"{kind}.response.start", "status": 200, "headers": headers})
        for part in (b"12", b"345"):
            await send({"type": f"{kind}.response.body", "body": part, "more_body": True})
        await send({"type": f"{kind}.response.body"})

    await call(app)

    assert answered(caplog) == {"status": 200, "bytes": 5, "message_id": "abc-1"}


@pytest.mark.parametrize(("begun", "status"), [(True, 200), (False, 500)])
async def test_an_app_that_fails_is_answered_for_unless_it_has_begun(
    caplog: pytest.LogCaptureFixture, begun: bool, status: int
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if begun:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        raise KeyError("a bug")

    with pytest.raises(KeyError):
        await call(app)

    assert answered(caplog) == {"status": status, "bytes": 0}


async def test_what_is_cut_before_it_is_answered_has_no_status(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await trio.sleep_forever()

    with trio.CancelScope() as scope:
        scope.cancel()
        await call(app)

    assert answered(caplog) == {"bytes": 0}


async def test_a_websocket_is_one_line_as_soon_as_it_is_accepted(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        assert answered(caplog) == {"status": 101, "bytes": 0}
        await send({"type": "websocket.send", "text": "12345"})

    await call(app)

    assert answered(caplog) == {"status": 101, "bytes": 0}
