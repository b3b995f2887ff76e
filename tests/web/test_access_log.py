"""The access log: a line for each request, whichever part of the hub answers it."""

import logging
from pathlib import Path
from typing import Any

import pytest

from hookbot.access.tokens import make_token
from hookbot.hub.logging_setup import fields_of
from hookbot.protocol.message import Duplicate
from hookbot.protocol.request import Request
from hookbot.protocol.response import Response, stored_response
from hookbot.web import access_log
from support import KEY
from support.clients import connect, post
from support.hubs import WholeHub, open_whole_hub

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def logged(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    """The fields of the lines."""
    records = [record for record in caplog.records if record.name == "hookbot.access_log"]
    assert {record.getMessage() for record in records} <= {"answered"}
    return [dict(fields_of(record)) for record in records]


@pytest.fixture(autouse=True)
def asked_for(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "hookbot.access_log")


async def test_a_line_has_who_asked_for_what_and_what_the_answer_was(
    tmp_path: Path, ways: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    token = make_token(KEY, "/pub/a")
    async with open_whole_hub(tmp_path, **ways) as hub:
        fields = [("traceparent", f"00-{TRACE}-00f067aa0ba902b7-01")]
        stored = await hub.post(f"/pub/a?x={token}", b"1", fields, token)
        refused = await hub.post("/pub/b", b"1", fields, token)

    first, second = logged(caplog)
    asked = {"method": "POST", "client": "127.0.0.1", "trace_id": TRACE}
    assert first.pop("duration_ms") >= 0
    assert first == {
        **asked,
        "path": "/pub/a",
        "topic": "a",
        "status": 200,
        "bytes": len(stored.content),
        "message_id": stored.headers["Hookbot-Message-Id"],
    }
    assert second.pop("duration_ms") >= 0
    assert second == {**asked, "path": "/pub/b", "topic": "b", "status": 401, "bytes": len(refused.content)}


async def test_each_of_many_that_are_alike_has_its_own_path(
    tmp_path: Path, ways: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    async with open_whole_hub(tmp_path, **ways) as hub, await connect(hub.port) as client:
        for topic in ("a", "a", "b", "a", "b"):
            await client.send(post(f"/pub/{topic}", b"1"))
            assert (await client.answer()).status == 200
        ids = [message.id for message in await hub.stored()]

    lines = logged(caplog)
    assert [line["topic"] for line in lines] == ["a", "a", "b", "a", "b"]
    assert [line["message_id"] for line in lines] == ids


async def test_a_stream_is_logged_when_it_ends_and_a_websocket_when_it_is_accepted(
    tmp_path: Path, ways: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    headers = {"Authorization": f"Bearer {make_token(KEY, '/')}"}
    async with open_whole_hub(tmp_path, **ways) as hub:
        async with hub.listen("/sub/a", "raw"), hub.listen("/sub/a?cursor=c", "v1"):
            assert [(line["path"], line["status"]) for line in logged(caplog)] == [("/sub/a", 101), ("/sub/a", 101)]
        await hub.post("/pub/a", b"1", headers.items())
        stream = await hub.http.get("/sub/a?since=all&follow=0", headers=headers)

    streamed = logged(caplog)[-1]
    assert (streamed["status"], streamed["bytes"]) == (200, len(stream.content))


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"POST /pub/a HTTP/1.1\r\nHost hub\r\n\r\n", 400),
        (b"BREW /pub/a HTTP/1.1\r\nHost: hub\r\n\r\n", 405),
        (b"GET /pub/a HTTP/1.1\r\nHost hub\r\n\r\n", 400),
        (b"POST /pub/a//b HTTP/1.1\r\nHost: hub\r\nContent-Length: 0\r\n\r\n", 400),
        (b"GET /pub/a HTTP/1.1\r\nHost: hub\r\n\r\n", 405),
    ],
)
async def test_what_is_no_request_for_a_topic_is_logged_once(
    tmp_path: Path, ways: dict[str, Any], caplog: pytest.LogCaptureFixture, sent: bytes, status: int
) -> None:
    async with open_whole_hub(tmp_path, **ways) as hub, await connect(hub.port) as client:
        await client.send(sent)
        assert (await client.answer()).status == status

    assert [line["status"] for line in logged(caplog)] == [status]


async def test_no_line_is_written_unless_it_is_asked_for(
    tmp_path: Path, ways: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "hookbot.access_log")
    caplog.set_level(logging.DEBUG, "hookbot")
    async with open_whole_hub(tmp_path, **ways) as hub:
        await answer_once(hub)

    assert logged(caplog) == []


async def answer_once(hub: WholeHub) -> None:
    assert (await hub.post("/pub/a", token=make_token(KEY, "/pub/a"))).status_code == 200


def test_what_is_not_known_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    access_log.log_response(Request("", b"", ()), Response(b"no", 400), None)
    access_log.log_request(Request("GET", b"/sub/a", ()), None, 7, None)

    assert logged(caplog) == [
        {"status": 400, "bytes": 2},
        {"method": "GET", "path": "/sub/a", "topic": "a", "bytes": 7},
    ]


def test_a_duplicate_has_the_id_of_the_first(caplog: pytest.LogCaptureFixture) -> None:
    access_log.log_response(Request("", b"", ()), stored_response(Duplicate("abc-1"), json=True), None)
    assert logged(caplog)[0]["message_id"] == "abc-1"
