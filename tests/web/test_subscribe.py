"""The subscribe flow of the app: consumers on websockets, and how a subscription ends."""

import json
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import trio
from trio.testing import MockClock
from trio_websocket import WebSocketConnection, open_websocket_url
from websockets.frames import Opcode

from hookbot.access.senders import Standing
from hookbot.access.tokens import make_token
from hookbot.hub.hub import RunningHub
from hookbot.protocol.message import format_id, parse_time
from hookbot.protocol.replies import MAX_WAIT_S
from hookbot.web.limits import NOISE, TOO_NOISY
from hookbot.web.turns import Turns
from support import KEY
from support.app_hubs import auth, hub, publish
from support.clients import Stream, WebSocket, connect, masked, messages


@asynccontextmanager
async def consumer(running: RunningHub, path: str, query: str) -> AsyncIterator[WebSocketConnection]:
    url = running.url.replace("http", "ws") + f"{path}?{query}&token={make_token(KEY, path)}"
    async with open_websocket_url(url, subprotocols=["hookbot.v1"]) as websocket:
        yield websocket


async def receive(websocket: WebSocketConnection) -> dict[str, Any]:
    received: dict[str, Any] = json.loads(await websocket.get_message())
    return received


async def test_a_cursor_goes_on_behind_what_was_acknowledged(tmp_path: Path) -> None:
    async with hub(tmp_path) as (running, _):
        ids = [message.id for message in await publish(running, b"1", b"2", b"3")]

        async with consumer(running, "/sub/a", "cursor=c&since=all") as websocket:
            hello = await receive(websocket)
            assert [(await receive(websocket))["body"] for _ in ids] == ["1", "2", "3"]
            await websocket.send_message(json.dumps({"type": "ack", "id": ids[1]}))
            await websocket.send_message("not an acknowledgement")
            error = await receive(websocket)
        async with consumer(running, "/sub/a", "cursor=c&since=all") as websocket:
            again = await receive(websocket)
            message = await receive(websocket)

    assert (hello["type"], hello["cursor"]) == ("hello", "c")
    assert error["type"] == "error"
    assert (again["position"], message["body"]) == (ids[1], "3")


async def test_what_a_member_of_a_group_leaves_goes_to_another(tmp_path: Path) -> None:
    async with hub(tmp_path) as (running, _):
        await publish(running, b"1")

        async with consumer(running, "/sub/a", "group=g&since=all") as first:
            assert (await receive(first))["type"] == "hello"
            taken = await receive(first)
        async with consumer(running, "/sub/a", "group=g") as second:
            assert (await receive(second))["type"] == "hello"
            given = await receive(second)

    assert (taken["body"], "redelivered" in taken) == ("1", False)
    assert (given["body"], given["redelivered"]) == ("1", True)


async def test_a_websocket_with_a_limit_ends_after_it(tmp_path: Path) -> None:
    async with hub(tmp_path) as (running, _):
        await publish(running, b"1", b"2", b"3")

        async with await connect(urlsplit(running.url).port or 0) as client:
            listener = WebSocket(client, "/sub/a?since=all&limit=2", "hookbot.v1", headers=auth("/sub/a").items())
            await listener.ask()
            await listener.accepted()
            received = [json.loads(payload).get("body") for payload in await listener.payloads(3)]
            code = await listener.closed()

    assert received == [None, "1", "2"]
    assert code == 1000


@asynccontextmanager
async def listening(running: RunningHub, path: str, subprotocol: str | None = None) -> AsyncIterator[WebSocket]:
    """A websocket that the app has accepted."""
    async with await connect(urlsplit(running.url).port or 0) as client:
        listener = WebSocket(client, path, subprotocol, headers=auth(path.partition("?")[0]).items())
        await listener.ask()
        yield await listener.accepted()


async def test_a_websocket_of_the_app_is_sent_what_is_published_and_what_it_sends_is_discarded(tmp_path: Path) -> None:
    async with hub(tmp_path, door=False) as (running, _), listening(running, "/sub/a") as listener:
        await listener.send("discarded")
        await publish(running, b"hello")

        assert await listener.payload() == b"hello"


@pytest.mark.parametrize("websocket", [True, False])
async def test_what_was_sent_to_subscribers_is_not_kept_while_they_wait_for_more(
    tmp_path: Path, websocket: bool
) -> None:
    size, count = 8 << 20, 8
    async with hub(tmp_path, door=False) as (running, _), AsyncExitStack() as connections:
        tracemalloc.start()
        connections.callback(tracemalloc.stop)
        for n in range(count):
            client = await connections.enter_async_context(await connect(urlsplit(running.url).port or 0))
            path, headers = f"/sub/{n}", {**auth(f"/sub/{n}"), "Accept": "application/x-ndjson"}.items()
            v1 = "hookbot.v1"
            asking = WebSocket(client, path, v1, headers=headers) if websocket else Stream(client, path, headers)
            await asking.ask()
            await asking.answered()
            await publish(running, b"a" * size, topic=str(n))
            left = size
            while left > 0:
                left -= len(await client.stream.receive_some(1 << 20))

        # The log is in memory, and a few frames are cached.
        taken, _ = tracemalloc.get_traced_memory()
        assert taken < 1.75 * size * count


async def test_a_raw_websocket_that_resumes_in_another_log_is_closed_with_1013(tmp_path: Path) -> None:
    path = f"/sub/a?since={format_id('otherlog', 7)}"
    async with hub(tmp_path, door=False) as (running, _), listening(running, path) as listener:
        assert await listener.closed() == 1013


async def test_a_cursor_that_an_operator_deletes_is_closed_with_a_code_of_its_own(tmp_path: Path) -> None:
    operators = "/hookbot/v1/cursors"
    query = {"path": "/sub/a", "name": "c"}
    async with hub(tmp_path) as (running, client), listening(running, "/sub/a?cursor=c", "hookbot.v1") as listener:
        await listener.payload()
        assert (await client.delete(operators, params=query, headers=auth(operators))).status_code == 200

        assert await listener.closed() == 4001


async def test_an_acknowledgement_that_is_refused_or_no_object_is_told_and_the_connection_goes_on(
    tmp_path: Path,
) -> None:
    async with hub(tmp_path) as (running, _), listening(running, "/sub/a?cursor=c", "hookbot.v1") as listener:
        await listener.payload()
        await listener.send("not JSON")
        await listener.send(json.dumps({"type": "ack", "id": "nonsense"}))
        errors = [json.loads(payload) for payload in await listener.payloads(2)]

        assert [error["type"] for error in errors] == ["error", "error"]
        await publish(running, b"hello")
        assert json.loads(await listener.payload())["body"] == "hello"


@pytest.mark.parametrize("query", ["", "?cursor=c", "?group=g"])
async def test_a_client_that_sends_many_messages_that_acknowledge_nothing_is_closed_with_1008(
    tmp_path: Path, query: str, caplog: pytest.LogCaptureFixture, mock_clock: MockClock
) -> None:
    async with hub(tmp_path, door=False) as (running, _), listening(running, f"/sub/a{query}", "hookbot.v1") as noisy:
        await noisy.client.send(messages(*[b"noise"] * 2 * NOISE.count))

        assert await noisy.closed() == 1008
    assert caplog.messages == [f"a subscriber is closed with 1008: {TOO_NOISY}"]


async def test_a_member_that_acknowledges_many_messages_at_once_waits_for_its_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns: list[Standing] = []
    wait = Turns.wait

    async def count(self: Turns, standing: Standing, last_turn_at: float) -> None:
        turns.append(standing)
        await wait(self, standing, last_turn_at)

    async with hub(tmp_path) as (running, _), listening(running, "/sub/a?group=g", "hookbot.v1") as member:
        await member.payload()
        ids = [message.id for message in await publish(running, *[b"x"] * 100)]
        await member.payloads(100)
        monkeypatch.setattr(Turns, "wait", count)
        await member.send(json.dumps({"type": "ack", "ids": ids[:1]}))
        await member.send(json.dumps({"type": "ack", "ids": ids[1:]}))
        await member.send(json.dumps({"type": "ack", "id": "nonsense"}))

        assert json.loads(await member.payload())["type"] == "error"
        assert turns == [Standing.TOKEN]


async def test_a_member_may_acknowledge_each_of_many_messages_by_itself(tmp_path: Path) -> None:
    async with hub(tmp_path) as (running, _), listening(running, "/sub/a?group=g", "hookbot.v1") as member:
        await member.payload()
        ids = [message.id for message in await publish(running, *[b"x"] * 300)]
        assert len(await member.payloads(300)) == 300
        await member.client.send(messages(*[json.dumps({"type": "ack", "ids": [id]}).encode() for id in ids]))
        await publish(running, b"still here")

        assert json.loads(await member.payload())["body"] == "still here"


async def test_many_acknowledgements_that_arrive_together_with_the_end_of_the_connection_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def behind_others(*args: object) -> None:
        for _ in range(100):
            await trio.lowlevel.checkpoint()

    monkeypatch.setattr(Turns, "wait", behind_others)
    close = b"\x88\x80mask"
    async with hub(tmp_path) as (running, _):
        async with listening(running, "/sub/a?group=g", "hookbot.v1") as member:
            await member.payload()
            ids = [message.id for message in await publish(running, *[b"x"] * 300)]
            await member.payloads(300)
            await member.client.send(messages(json.dumps({"type": "ack", "ids": ids}).encode()) + close)
            await member.closed()

        async with listening(running, "/sub/a?group=g", "hookbot.v1") as member:
            await member.payload()
            await publish(running, b"next")
            assert json.loads(await member.payload())["body"] == "next"


async def test_acknowledgements_before_a_close_frame_and_the_end_of_the_connection_count(tmp_path: Path) -> None:
    close = b"\x88\x80mask"
    async with hub(tmp_path) as (running, _):
        async with listening(running, "/sub/a?group=g", "hookbot.v1") as member:
            await member.payload()
            ids = [message.id for message in await publish(running, *[b"x"] * 20)]
            await member.payloads(20)
            acks = [json.dumps({"type": "ack", "ids": [id]}).encode() for id in ids]
            await member.client.send(messages(*acks) + close)
            await member.client.send_eof()
            await member.client.rest()

        async with listening(running, "/sub/a?group=g", "hookbot.v1") as member:
            await member.payload()
            await publish(running, b"next")
            assert json.loads(await member.payload())["body"] == "next"


async def acknowledge_when_closed(member: WebSocket, ids: list[str]) -> None:
    """Acknowledge messages after the hub's close frame, and only then answer that."""
    member.pongs = False
    frame = await member.frame()
    assert frame is not None
    assert frame.opcode is Opcode.CLOSE
    acks = [json.dumps({"type": "ack", "ids": [id]}).encode() for id in ids]
    await member.client.send(messages(*acks) + masked(Opcode.CLOSE, bytes(frame.data)))
    await member.client.rest()


async def test_what_a_client_acknowledges_before_it_answers_the_close_frame_counts(tmp_path: Path) -> None:
    async with hub(tmp_path) as (running, _):
        async with listening(running, "/sub/a?group=g&limit=3", "hookbot.v1") as member:
            await member.payload()
            ids = [message.id for message in await publish(running, b"1", b"2", b"3")]
            await member.payloads(3)
            await acknowledge_when_closed(member, ids)

        async with listening(running, "/sub/a?group=g", "hookbot.v1") as member:
            await member.payload()
            await publish(running, b"next")
            assert json.loads(await member.payload())["body"] == "next"


async def test_what_a_client_acknowledges_while_the_hub_stops_counts(tmp_path: Path) -> None:
    path, store = "/sub/a?group=g", {"store": "sqlite:"}
    async with AsyncExitStack() as connections, trio.open_nursery() as nursery, hub(tmp_path, **store) as (running, _):
        member = await connections.enter_async_context(listening(running, path, "hookbot.v1"))
        await member.payload()
        ids = [message.id for message in await publish(running, b"1", b"2", b"3")]
        await member.payloads(3)
        nursery.start_soon(acknowledge_when_closed, member, ids)

    async with hub(tmp_path, **store) as (running, _), listening(running, path, "hookbot.v1") as member:
        await member.payload()
        await publish(running, b"next")
        assert json.loads(await member.payload())["body"] == "next"


async def test_a_stream_is_the_stored_messages_and_then_ends_if_it_does_not_follow(tmp_path: Path) -> None:
    async with hub(tmp_path) as (running, client):
        await publish(running, b"1", b"2")
        answer = await client.get("/sub/a?since=all&follow=0", headers=auth("/sub/a"))

    assert [json.loads(line)["body"] for line in answer.text.splitlines()] == ["1", "2"]


@pytest.mark.parametrize("query", ["limit=9", "cursor=a", "group=a"])
async def test_a_listener_that_replies_is_told_the_time_and_how_long_senders_wait(tmp_path: Path, query: str) -> None:
    async with hub(tmp_path) as (running, _):
        before_us = running.broker.clock()
        async with consumer(running, "/sub/a", f"{query}&reply") as one, consumer(running, "/sub/b", query) as other:
            told, hello = await receive(one), await receive(other)

    assert before_us <= parse_time(told["time"]) <= running.broker.clock()
    assert told["reply_timeout_s"] == MAX_WAIT_S
    assert not hello.keys() & {"time", "reply_timeout_s"}
