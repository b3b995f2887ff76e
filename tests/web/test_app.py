"""The app's own business, over real sockets: streams, consumers on websockets, health, other origins."""

import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import trio

from hookbot.access.client_address import TrustedProxies
from hookbot.access.tokens import make_token
from hookbot.hub.hub import open_hub
from support import GUARD_S, KEY
from support.app_hubs import auth, hub, publish, streaming
from support.clients import WebSocket, connect
from support.hubs import configured, open_whole_hub


async def test_json_lines_go_from_history_to_live_without_a_seam(tmp_path: Path) -> None:
    async with hub(tmp_path) as (running, _):
        await publish(running, b"1", b"2")

        async with streaming(running, "/sub/a?since=all", auth("/sub/a")) as stream:
            stored = await stream.lines(2)
            await publish(running, b"3")
            [live] = await stream.lines(1)

    assert [json.loads(line)["body"] for line in (*stored, live)] == ["1", "2", "3"]
    assert stream.headers["content-type"] == "application/x-ndjson"
    assert stream.headers["cache-control"] == "no-store"
    assert stream.headers["x-accel-buffering"] == "no"


async def test_an_event_source_resumes_after_the_last_id_that_it_has_seen(tmp_path: Path) -> None:
    async with hub(tmp_path) as (running, _):
        first, second = await publish(running, b"1", b"2")
        headers = {**auth("/sub/a"), "Accept": "text/event-stream", "Last-Event-ID": first.id}

        async with streaming(running, "/sub/a?since=all", headers) as stream:
            event = await stream.lines(4)

    assert event[:2] == [f"id: {second.id}", "event: message"]
    assert json.loads(event[2].removeprefix("data: "))["body"] == "2"
    assert event[3] == ""


async def test_polls_miss_nothing(tmp_path: Path) -> None:
    async with hub(tmp_path) as (running, client):
        heard, since = [], "all"
        for number in range(4):
            await publish(running, b"%d" % number, b"%d" % number)

            answer = await client.get(f"/sub/a?wait=60s&limit=3&since={since}", headers=auth("/sub/a"))
            *messages, beat = map(json.loads, answer.text.splitlines())
            heard += [message["body"] for message in messages]
            since = beat["id"]

    assert heard == ["0", "0", "1", "1", "2", "2", "3", "3"]
    assert answer.headers["content-type"] == "application/x-ndjson"


async def test_a_poll_counts_as_a_subscription(tmp_path: Path) -> None:
    async with (
        hub(tmp_path, max_subscribers=1) as (running, client),
        streaming(running, "/sub/a?wait=60s", auth("/sub/a")),
    ):
        refused = await client.get("/sub/a?wait=60s", headers=auth("/sub/a"))

    assert refused.status_code == 429


async def test_a_quiet_stream_has_heartbeats_to_resume_from(tmp_path: Path) -> None:
    async with hub(tmp_path, heartbeat_s=0.01) as (running, _):
        [elsewhere] = await publish(running, b"for others", topic="b")

        async with streaming(running, "/sub/a?since=all", auth("/sub/a")) as stream:
            [beat] = await stream.lines(1)

    assert json.loads(beat) == {"type": "heartbeat", "id": elsewhere.id}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("query", "bodies"),
    [
        ("since=all&follow=0", ["1", "2", "3"]),
        ("since=all&follow=0&limit=2", ["1", "2"]),
        ("since=all&follow=0&limit=1&order=newest", ["3"]),
        ("since=all&follow=0&order=newest", ["3", "2", "1"]),
        ("since=all&limit=3", ["1", "2", "3"]),
        ("follow=0&since=2999-01-01T00:00:00Z", []),
    ],
)
async def test_a_stream_ends_where_it_was_asked_to(tmp_path: Path, query: str, bodies: list[str]) -> None:
    async with hub(tmp_path) as (running, client):
        await publish(running, b"1", b"2", b"3")

        answer = await client.get(f"/sub/a?{query}", headers=auth("/sub/a"))

    assert [json.loads(line)["body"] for line in answer.text.splitlines()] == bodies


async def test_a_browser_may_show_its_token_in_the_query_of_a_stream(tmp_path: Path) -> None:
    async with hub(tmp_path) as (_, client):
        good = await client.get(f"/sub/a?follow=0&since=all&token={make_token(KEY, '/sub/a')}")
        bad = await client.get("/sub/a?follow=0&since=all&token=0000")

    assert (good.status_code, bad.status_code) == (200, 401)


@pytest.mark.parametrize(
    ("query", "accept", "rest"), [("", "text/event-stream", b""), ("?wait=60s", "*/*", b'{"type":"heartbeat","id":')]
)
async def test_streams_end_when_the_hub_shuts_down(tmp_path: Path, query: str, accept: str, rest: bytes) -> None:
    config = configured(tmp_path, grace_s=GUARD_S * 2)
    over = trio.Event()

    async def read(url: str, *, task_status: Any) -> None:
        headers = {**auth("/sub/a"), "Accept": accept}
        async with httpx.AsyncClient(timeout=None) as client, client.stream("GET", url, headers=headers) as response:
            task_status.started()
            assert (await response.aread())[: len(rest) or None] == rest
        over.set()

    with trio.fail_after(GUARD_S):
        async with trio.open_nursery() as nursery, open_hub(config) as running:
            await nursery.start(read, f"{running.url}/sub/a{query}")

    assert over.is_set()


async def test_health_says_ok_and_nothing_else(tmp_path: Path) -> None:
    async with hub(tmp_path) as (_, client):
        answers = [await client.get(path) for path in ("/status", "/healthz", "/readyz")]

    assert [(answer.status_code, answer.text) for answer in answers] == [(200, "OK\n"), (200, "ok\n"), (200, "ok\n")]


async def test_a_page_of_a_listed_origin_may_read_and_others_may_not(tmp_path: Path) -> None:
    async with hub(tmp_path, cors_origins=("https://app.example",)) as (_, client):
        query = "/sub/a?follow=0&since=all"
        listed = await client.get(query, headers={**auth("/sub/a"), "Origin": "https://app.example"})
        asked = await client.options(query, headers={"Origin": "https://app.example"})
        other = await client.get(query, headers={**auth("/sub/a"), "Origin": "https://evil.example"})

    assert listed.headers["access-control-allow-origin"] == "https://app.example"
    assert (asked.status_code, asked.headers["access-control-allow-headers"]) == (204, "Authorization, Last-Event-ID")
    assert "access-control-allow-origin" not in other.headers


async def test_saved_credentials_are_of_no_use_to_a_foreign_page(tmp_path: Path) -> None:
    async with hub(tmp_path) as (_, client):
        answer = await client.get(
            "/sub/a?follow=0&since=all",
            auth=(make_token(KEY, "/sub/a"), ""),
            headers={"Origin": "https://evil.example"},
        )

    assert answer.status_code == 403


async def test_an_unknown_method_is_answered_by_405_in_the_body_as_well_as_in_the_status(tmp_path: Path) -> None:
    async with hub(tmp_path) as (_, client):
        answer = await client.request("BREW", "/pub/a", headers={"Accept": "application/json"})

    problem = answer.json()
    assert (answer.status_code, answer.headers["content-type"]) == (405, "application/problem+json")
    assert (problem["status"], problem["title"]) == (405, "Method Not Allowed")
    assert answer.headers["allow"] == "POST"


async def test_a_sender_of_cloud_events_is_permitted_to_deliver_if_it_shows_a_token(tmp_path: Path) -> None:
    async with hub(tmp_path) as (_, client):
        asking = {"WebHook-Request-Origin": "events.example"}
        allowed = await client.options("/pub/a", headers={**asking, **auth("/pub/a")})
        refused = await client.options("/pub/a", headers=asking)
        unsafe = await client.options("/unsafe/pub/a", headers=asking)

    assert (allowed.status_code, allowed.headers["webhook-allowed-origin"]) == (200, "events.example")
    assert (refused.status_code, unsafe.status_code) == (401, 405)
    assert "webhook-allowed-origin" not in {*refused.headers, *unsafe.headers}


async def test_the_app_publishes_by_itself_and_a_body_that_is_too_large_is_refused(tmp_path: Path) -> None:
    async with hub(tmp_path, door=False, max_body_bytes=1000) as (running, client):
        stored = await client.post("/pub/a", content=b"hello", headers=auth("/pub/a"))
        declared = await client.post("/pub/a", content=bytes(1001), headers=auth("/pub/a"))
        chunked = await client.post("/pub/a", content=parts(600, 600), headers=auth("/pub/a"))
        at_once = await client.post("/pub/a", content=parts(5000), headers=auth("/pub/a"))

        assert (stored.status_code, stored.text) == (200, "OK\n")
        assert [answer.status_code for answer in (declared, chunked, at_once)] == [413] * 3
        assert at_once.text == chunked.text
        assert running.broker.head == 1


async def parts(*sizes: int) -> AsyncIterator[bytes]:
    for size in sizes:
        yield bytes(size)


async def test_a_path_that_is_no_topic_is_refused_before_any_route(tmp_path: Path) -> None:
    async with hub(tmp_path) as (_, client):
        answer = await client.get("/sub/%ff", headers=auth("/sub/a"))

    assert answer.status_code == 400


async def test_a_senders_question_is_answered(tmp_path: Path) -> None:
    section = '[[sources]]\ntopic = "/unsafe/acme"\nprovider = "dropbox"\nsecrets = ["the secret"]\n'
    async with open_whole_hub(tmp_path, section) as whole:
        answer = await whole.http.get("/unsafe/pub/acme?challenge=abc")

    assert (answer.status_code, answer.text) == (200, "abc")


async def test_responses_are_counted_by_their_status(tmp_path: Path) -> None:
    async with hub(tmp_path) as (running, client):
        await client.get("/sub/a")

        assert running.broker.counts.refused["401"] == 1


async def test_a_websocket_is_accepted_by_the_app_or_refused_with_a_status(tmp_path: Path) -> None:
    async with hub(tmp_path, door=False) as (running, _):
        async with await connect(urlsplit(running.url).port or 0) as client:
            listener = WebSocket(client, "/sub/a", headers=auth("/sub/a").items())
            await listener.ask()
            await listener.accepted()
            await publish(running, b"hello")
            assert await listener.payload() == b"hello"

        async with await connect(urlsplit(running.url).port or 0) as client:
            refused = WebSocket(client, "/sub/a")
            await refused.ask()
            assert (await refused.answered()).status == 401


async def test_a_slow_body_is_answered_by_408_and_counted_as_on_the_fast_path(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "hookbot.access")
    async with open_whole_hub(tmp_path, door=False, slow_s=0.05) as whole:
        client = await connect(whole.port)
        async with client:
            await client.send(b"POST /unsafe/pub/a HTTP/1.1\r\nHost: hub\r\nContent-Length: 9\r\n\r\nabc")
            answer = await client.rest()
        metrics = await whole.http.get("/metrics", headers=auth("/metrics"))

    assert answer.startswith(b"HTTP/1.1 408 ")
    assert 'hookbot_bodies_refused_total{reason="slow"} 1.0' in metrics.text
    assert 'hookbot_refused_total{status="408"} 1.0' in metrics.text
    assert "hookbot_body_bytes 0.0" in metrics.text
    assert "refused: the request did not arrive in time" in caplog.messages


async def test_unknown_senders_get_a_share_of_the_memory_for_bodies_also_in_the_app(tmp_path: Path) -> None:
    head = b"POST /unsafe/pub/a HTTP/1.1\r\nHost: hub\r\nContent-Length: 1000\r\n\r\n"
    async with (
        open_whole_hub(tmp_path, door=False, max_body_bytes=1000, max_receiving_bytes=0) as whole,
        await connect(whole.port) as first,
        await connect(whole.port) as second,
    ):
        await first.send(head + bytes(600))
        while "hookbot_body_bytes 600.0" not in (await whole.http.get("/metrics", headers=auth("/metrics"))).text:
            pass
        await second.send(head + bytes(600))
        assert (await second.rest()).startswith(b"HTTP/1.1 429 ")
        stored = await whole.post("/pub/a", bytes(1000), token=make_token(KEY, "/pub/a"))
        await first.send(bytes(400))
        assert (await first.until(b"\r\n")).startswith(b"HTTP/1.1 200 ")

    assert stored.status_code == 200


STATUS = b"GET /status HTTP/1.1\r\nHost: hub\r\n\r\n"


@pytest.mark.parametrize("door", [True, False])
async def test_one_address_may_have_so_many_connections_without_a_token(tmp_path: Path, door: bool) -> None:
    async with (
        open_whole_hub(tmp_path, door=door, max_connections_per_address=1) as whole,
        await connect(whole.port) as first,
    ):
        await first.send(STATUS)
        await first.until(b"OK\n")
        async with await connect(whole.port) as second:
            assert (await second.rest()).startswith(b"HTTP/1.1 429 ")
        await first.send(STATUS)
        await first.until(b"OK\n")


@pytest.mark.parametrize("door", [True, False])
async def test_a_proxy_may_have_any_number_of_connections(tmp_path: Path, door: bool) -> None:
    limits: dict[str, Any] = {"max_connections_per_address": 1, "trusted_proxies": TrustedProxies.parse("127.0.0.0/8")}
    async with (
        open_whole_hub(tmp_path, door=door, **limits) as whole,
        await connect(whole.port),
        await connect(whole.port) as second,
    ):
        await second.send(STATUS)
        await second.until(b"OK\n")
