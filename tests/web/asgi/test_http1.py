"""HTTP/1.1 behind `hookbot.web.asgi`: malformed requests, deadlines, the ends of connections, and invitations."""

from typing import Any

import pytest
import trio
from quart import request, websocket
from trio.testing import MockClock, wait_all_tasks_blocked

from hookbot.web.unauthenticated import UnauthenticatedConnections
from support import GUARD_S
from support.apps import ObservedApp, open_app
from support.clients import handshake, messages

GET = b"GET / HTTP/1.1\r\nHost: hub\r\n\r\n"
POST = b"POST /pub HTTP/1.1\r\nHost: hub\r\n"


# --- malformed requests


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", id="length and coding"),
        pytest.param(POST + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n", id="coding and length"),
        pytest.param(POST + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", id="length twice"),
        pytest.param(POST + b"Content-Length: 3\r\ncontent-length: 4\r\n\r\nabc", id="two lengths"),
        pytest.param(POST + b"Content-Length: 3, 3\r\n\r\nabc", id="length listed twice"),
        pytest.param(POST + b"Content-Length: +3\r\n\r\nabc", id="length with a sign"),
        pytest.param(POST + b"Content-Length: 0x3\r\n\r\nabc", id="hexadecimal length"),
        pytest.param(POST + b"Content-Length: -3\r\n\r\nabc", id="negative length"),
        pytest.param(POST + b"Content-Length : 3\r\n\r\nabc", id="space before the colon"),
        pytest.param(POST + b"Transfer-Encoding: gzip\r\n\r\n", id="unknown coding"),
        pytest.param(POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n", id="unknown coding first"),
        pytest.param(POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", id="coding twice"),
        pytest.param(POST + b"Transfer-Encoding: chunked\r\n\r\nz\r\n", id="chunk of no size"),
        pytest.param(POST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabcde\r\n", id="chunk longer than it says"),
        pytest.param(b"POST /pub HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", id="coding in HTTP/1.0"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", id="no host"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", id="two hosts"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", id="a host with a space"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: \xff\r\n\r\n", id="a host that is not ASCII"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n\r\n", id="folded header"),
        pytest.param(b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", id="folded request line"),
        pytest.param(b"GET / HTTP/1.1\nHost: a\n\n", id="bare line feeds"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\nX: 1\r\n\r\n", id="one bare line feed"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\n\n", id="bare line feed at the end"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\rX: 1\r\n\r\n", id="bare carriage return"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\nX: \x00\r\n\r\n", id="NUL in a header"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n", id="no colon"),
        pytest.param(b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", id="HTTP/1.2"),
        pytest.param(b"GET / HTTP/0.9\r\n\r\n", id="HTTP/0.9"),
        pytest.param(b"GET / HTTP/3.0\r\nHost: a\r\n\r\n", id="HTTP/3.0"),
        pytest.param(b"GET /\r\n\r\n", id="no version"),
        pytest.param(b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", id="two spaces"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", id="HTTP/2 on cleartext"),
        pytest.param(b"get / HTTP/1.1\r\nHost: a\r\n\r\n", id="method in lower case"),
        pytest.param(b"GET ?a HTTP/1.1\r\nHost: a\r\n\r\n", id="target without a path"),
        pytest.param(b"GET hub HTTP/1.1\r\nHost: a\r\n\r\n", id="target that is a word"),
        pytest.param(b"GET http://[ HTTP/1.1\r\nHost: a\r\n\r\n", id="target that is half a URL"),
        pytest.param(b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n", id="target that is not ASCII"),
        pytest.param(b"CONNECT hub:443 HTTP/1.1\r\nHost: a\r\n\r\n", id="CONNECT"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", id="TLS on cleartext"),
    ],
)
async def test_a_malformed_request_is_answered_by_400_and_never_reaches_the_app(app: ObservedApp, sent: bytes) -> None:
    seen = []
    app.before_request(lambda: seen.append(request.path))

    async with open_app(app) as hub:
        answer = await hub.ask(sent)

        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b"\r\ncontent-type: text/plain; charset=utf-8\r\n" in answer.lower()
        assert b"\r\nconnection: close\r\n" in answer.lower()
        assert seen == [] or "chunk" in str(sent)
        assert (await hub.ask(GET.replace(b"1.1", b"1.0"))).endswith(b"hello")


@pytest.mark.parametrize("more", [b"X: %b\r\n\r\n" % bytes(40000).replace(b"\0", b"x"), b"x" * 40000])
async def test_headers_that_are_too_long_are_answered_by_431(app: ObservedApp, more: bytes) -> None:
    async with open_app(app) as hub:
        answer = await hub.ask(b"GET / HTTP/1.1\r\nHost: a\r\n" + more)

        assert answer.startswith(b"HTTP/1.1 431 ")


# --- connections end


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"GET / HTTP/1.0\r\n\r\n", id="HTTP/1.0"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n\r\n", id="Connection: close"),
        pytest.param(POST + b"Content-Length: 2000000\r\n\r\n" + bytes(2000000), id="413"),
        pytest.param(POST + b"Transfer-Encoding: chunked\r\n\r\n200000\r\n" + bytes(2 << 20), id="413, chunked"),
        pytest.param(b"POST /locked HTTP/1.1\r\nHost: hub\r\nContent-Length: 9\r\n\r\n", id="401 before the body"),
    ],
)
async def test_a_connection_is_closed_after_a_response_that_says_so(app: ObservedApp, sent: bytes) -> None:
    async with open_app(app) as hub:
        answer = await hub.ask(sent)

        assert b"\r\nconnection: close\r\n" in answer.lower()
        assert answer.endswith((b"hello", b"limit.</p>\n", b"Unauthorized"))


async def test_an_idle_connection_is_closed_after_a_while(app: ObservedApp) -> None:
    async with open_app(app, keep_alive_s=0.05) as hub:
        assert (await hub.ask(GET)).endswith(b"hello")


async def test_a_connection_is_kept_for_more_requests_also_when_they_come_at_once(app: ObservedApp) -> None:
    async with open_app(app) as hub, await hub.connect() as client:
        await client.send(GET * 3)

        for _ in range(3):
            await client.until(b"hello")
        await client.send(POST + b"Transfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\nX-Trailer: 1\r\n\r\n" + GET)
        await client.until(b"3 bytes")
        await client.until(b"hello")


@pytest.mark.parametrize(
    ("sent", "method", "path", "status"),
    [
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", "", b"", 400, id="malformed"),
        pytest.param(b"GET /a HTTP/1.1\r\nHo", "", b"", 408, id="half a head"),
        pytest.param(POST + b"Content-Length: 9\r\n\r\nabc", "POST", b"/pub", 408, id="half a body"),
    ],
)
async def test_what_no_app_answers_is_noted_as_far_as_it_was_read(
    sent: bytes, method: str, path: bytes, status: int
) -> None:
    noted = []
    app = ObservedApp()

    @app.post("/pub")
    async def read() -> str | bytes:
        return await request.get_data()

    unauthenticated = UnauthenticatedConnections(note=lambda *told: noted.append(told))
    async with open_app(app, unauthenticated=unauthenticated, slow_s=0.05) as hub:
        answer = await hub.ask(sent)

    [(plain, reason, told)] = noted
    assert (plain.method, plain.raw_path, plain.client, told) == (method, path, "127.0.0.1", status)
    assert reason in answer.decode()


@pytest.mark.parametrize(
    ("sent", "limits"),
    [
        pytest.param(b"GET / HTTP/1.1\r\nHo", {"slow_s": 0.05}, id="half a head"),
        pytest.param(POST + b"Content-Length: 9\r\n\r\nabc", {"slow_s": 0.05}, id="half a body"),
        pytest.param(GET + b"GET", {"slow_s": 0.05}, id="half a second head"),
    ],
)
async def test_a_sender_who_stops_in_the_middle_of_a_request_is_answered_by_408(
    app: ObservedApp, sent: bytes, limits: dict[str, Any]
) -> None:
    async with open_app(app, **limits) as hub:
        answer = await hub.ask(sent)

        assert b"HTTP/1.1 408 Request Timeout\r\n" in answer
        assert answer.endswith(b"the request did not arrive in time\n")


async def test_whoever_connects_and_says_nothing_is_closed(app: ObservedApp) -> None:
    async with open_app(app, slow_s=0.05, keep_alive_s=GUARD_S) as hub:
        assert await hub.ask(b"") == b""


@pytest.mark.parametrize(
    ("begun", "limits"),
    [
        pytest.param(b"GET / HTTP/1.1\r\nX: ", {"slow_s": 10}, id="head"),
        pytest.param(GET + b"GET / HTTP/1.1\r\nX: ", {"slow_s": 10}, id="second head"),
        pytest.param(POST + b"Content-Length: 1000000\r\n\r\n", {"body_s": 10, "slow_s": 10}, id="body"),
    ],
)
async def test_a_request_that_comes_byte_by_byte_has_to_be_whole_in_time(
    app: ObservedApp, begun: bytes, limits: dict[str, Any], mock_clock: MockClock
) -> None:
    async with open_app(app, linger_s=1, **limits) as hub, await hub.connect() as client:
        await client.send(begun)
        with pytest.raises(trio.BrokenResourceError):  # noqa: PT012 - until the hub has had enough
            while True:
                await client.send(b"x")
                await wait_all_tasks_blocked()
                mock_clock.jump(1)
        assert trio.current_time() < 15


# --- Expect: 100-continue


@pytest.mark.parametrize(
    ("path", "length", "status"),
    [
        pytest.param(b"/locked", b"3", b"401", id="not authorized"),
        pytest.param(b"/pub", b"9000000", b"413", id="too large"),
        pytest.param(b"/nowhere", b"3", b"404", id="nowhere"),
    ],
)
async def test_a_body_that_is_not_wanted_is_not_invited(
    app: ObservedApp, path: bytes, length: bytes, status: bytes
) -> None:
    async with open_app(app) as hub:
        sent = b"POST %b HTTP/1.1\r\nHost: hub\r\nExpect: 100-continue\r\nContent-Length: %b\r\n\r\n" % (path, length)
        answer = await hub.ask(sent)

        assert answer.startswith(b"HTTP/1.1 " + status)
        assert b"100" not in answer.partition(b"\r\n")[0]


async def test_a_body_is_invited_when_somebody_begins_to_read_it(app: ObservedApp) -> None:
    async with open_app(app, slow_s=GUARD_S) as hub, await hub.connect() as client:
        await client.send(POST + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\n")
        assert (await client.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 100")

        await client.send(b"abc")

        assert (await client.until(b"3 bytes")).startswith(b"HTTP/1.1 200")


async def test_a_client_that_waits_for_its_invitation_is_not_taken_for_a_slow_one(
    app: ObservedApp, mock_clock: MockClock
) -> None:
    @app.post("/slow")
    async def slow() -> bytes:
        mock_clock.jump(11)
        await wait_all_tasks_blocked()
        body = await request.get_data()
        assert isinstance(body, bytes)
        return body

    async with open_app(app, slow_s=10) as hub, await hub.connect() as client:
        await client.send(b"POST /slow HTTP/1.1\r\nHost: hub\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")

        assert (await client.until(b"\r\n")).startswith(b"HTTP/1.1 100 ")


async def test_an_invited_body_that_does_not_come_is_answered_by_408(app: ObservedApp) -> None:
    async with open_app(app, slow_s=0.05) as hub:
        answer = await hub.ask(POST + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\n")

        assert answer.startswith(b"HTTP/1.1 100 ")
        assert b"HTTP/1.1 408 " in answer


async def test_a_client_that_does_not_wait_for_its_invitation_gets_none(app: ObservedApp) -> None:
    async with open_app(app) as hub:
        answer = await hub.ask(POST + b"Expect: 100-continue\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc")

        assert answer.startswith(b"HTTP/1.1 200 ")


# --- bodies that are refused


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        pytest.param(b"/locked", b"x\r\n", b"401", id="not authorized"),
        pytest.param(b"/nowhere", b"x\r\n", b"404", id="nowhere"),
        pytest.param(b"/pub", b"7d1\r\n" + b"x" * 2001 + b"\r\nx\r\n", b"413", id="too large before it is malformed"),
        pytest.param(b"/pub", b"1\r\nx\r\nx\r\n", b"400", id="malformed before it is too large"),
    ],
)
async def test_a_malformed_body_is_refused_for_what_was_wrong_first(
    app: ObservedApp, path: bytes, body: bytes, status: bytes
) -> None:
    app.config["MAX_CONTENT_LENGTH"] = 2000

    async with open_app(app) as hub:
        answer = await hub.ask(b"POST %b HTTP/1.1\r\nHost: hub\r\nTransfer-Encoding: chunked\r\n\r\n%b" % (path, body))

    assert answer.startswith(b"HTTP/1.1 " + status)
    assert answer.count(b"HTTP/1.1 ") == 1


async def test_the_request_behind_a_refused_body_is_answered_if_the_whole_of_it_has_come(app: ObservedApp) -> None:
    async with open_app(app) as hub, await hub.connect() as client:
        await client.send(b"POST /locked HTTP/1.1\r\nHost: hub\r\nContent-Length: 3\r\n\r\nabc" + GET)

        assert (await client.until(b"401 Unauthorized")).startswith(b"HTTP/1.1 401")
        assert (await client.until(b"hello")).endswith(b"hello")


# --- HTTP/2 on cleartext


async def test_an_upgrade_to_http2_on_cleartext_is_ignored(app: ObservedApp) -> None:
    async with open_app(app) as hub:
        upgrade = b"Connection: close, Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"
        answer = await hub.ask(b"GET / HTTP/1.1\r\nHost: hub\r\n" + upgrade + b"\r\n")

        assert answer.startswith(b"HTTP/1.1 200 ")
        assert answer.endswith(b"hello")


# --- websockets


async def test_frames_that_come_while_a_handshake_is_being_refused_are_ignored() -> None:
    refusing, go_on = trio.Event(), trio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.http.response.start", "status": 403, "headers": [(b"content-length", b"4")]})
        await send({"type": "websocket.http.response.body", "body": b"no", "more_body": True})
        refusing.set()
        await go_on.wait()
        await send({"type": "websocket.http.response.body", "body": b"!\n", "more_body": False})

    async with open_app(app) as hub, await hub.connect() as client:
        await client.send(handshake("/ws"))
        await refusing.wait()
        await client.send(messages(b"too early"))
        await wait_all_tasks_blocked()
        go_on.set()

        answer = await client.rest()
        assert answer.startswith(b"HTTP/1.1 403 ")
        assert answer.endswith(b"no!\n")


@pytest.mark.parametrize("shut_down", [False, True])
async def test_a_websocket_is_served_and_hears_of_a_shutdown(app: ObservedApp, shut_down: bool) -> None:
    @app.websocket("/silent")
    async def silent() -> None:
        await websocket.accept()
        await (trio.sleep_forever() if shut_down else trio.lowlevel.checkpoint())

    async with open_app(app, grace_s=GUARD_S) as hub:
        socket = await (await hub.websocket("/silent")).accepted()
        if shut_down:
            hub.server.shut_down()

        assert await socket.closed() == (1001 if shut_down else 1000)


async def test_a_websocket_that_sends_nothing_is_ended_without_a_word(mock_clock: MockClock) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await trio.sleep_forever()

    async with open_app(app, deaf_s=10, linger_s=1) as hub, await hub.connect() as client:
        await client.send(handshake("/ws"))
        await wait_all_tasks_blocked()
        mock_clock.jump(11)

        assert await client.rest() == b""


async def test_a_shutdown_closes_an_idle_connection_and_lets_a_response_finish(app: ObservedApp) -> None:
    @app.get("/slow")
    async def slow() -> str:
        app.begun.set()
        await app.go_on.wait()
        return "done"

    async with open_app(app, grace_s=GUARD_S) as hub, await hub.connect() as idle, await hub.connect() as busy:
        await busy.send(GET.replace(b"/ ", b"/slow "))
        await app.begun.wait()
        hub.server.shut_down()

        assert await idle.rest() == b""
        app.go_on.set()
        answer = await busy.rest()
        assert b"\r\nconnection: close\r\n" in answer.lower()
        assert answer.endswith(b"done")
