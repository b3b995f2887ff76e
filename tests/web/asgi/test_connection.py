"""HTTP/1.1 behind `hookbot.web.asgi`: what untrusted clients send, and that connections end."""

import copy
import errno
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import trio
import trio.testing
from quart import Response, request

from hookbot.web.asgi import HookbotApp, PrefixedStream, Server
from hookbot.web.asgi.strict_h11 import StrictConnection
from hookbot.web.limits import ConnectionLimits
from support import GUARD_S
from support.apps import open_app
from support.clients import Client

GET = b"GET / HTTP/1.1\r\nHost: hub\r\n\r\n"
POST = b"POST /pub HTTP/1.1\r\nHost: hub\r\n"


@pytest.fixture
def app() -> HookbotApp:
    app = HookbotApp("test", max_body_bytes=1 << 20)

    @app.get("/")
    async def index() -> str:
        return "hello"

    @app.post("/pub")
    async def publish() -> str:
        return f"{len(await request.get_data())} bytes"

    @app.post("/locked")
    async def locked() -> tuple[str, int]:
        return "401 Unauthorized", 401

    return app


def endless_app() -> HookbotApp:
    """An app with an answer that begins, and ends only with its reader; `ended` is set then."""
    app = HookbotApp("test", max_body_bytes=1000)
    app.ended = trio.Event()

    @app.get("/")
    async def stream() -> Response:
        async def parts() -> AsyncIterator[bytes]:
            try:
                yield b"begun"
                await trio.sleep_forever()
            finally:
                app.ended.set()

        return Response(parts())

    @app.get("/flood")
    async def flood() -> Response:
        async def parts() -> AsyncIterator[bytes]:
            try:
                while True:
                    yield bytes(1 << 20)
            finally:
                app.ended.set()

        return Response(parts())

    return app


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
        pytest.param(b"\r\n" * 3, id="empty lines"),
    ],
)
async def test_a_malformed_request_is_answered_by_400_and_never_reaches_the_app(app: HookbotApp, sent: bytes) -> None:
    seen = []
    app.before_request(lambda: seen.append(request.path))

    async with open_app(app) as hub:
        answer = await hub.ask(sent)

        assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
        assert answer.endswith(b"\r\n\r\nthe request is malformed\n")
        assert b"\r\nConnection: close\r\n" in answer
        assert seen == [] or "chunk" in str(sent)
        assert (await hub.ask(GET.replace(b"1.1", b"1.0"))).endswith(b"hello")


@pytest.mark.parametrize("more", [b"X: %b\r\n\r\n" % bytes(40000).replace(b"\0", b"x"), b"x" * 40000])
async def test_headers_that_are_too_long_are_answered_by_431(app: HookbotApp, more: bytes) -> None:
    async with open_app(app) as hub:
        answer = await hub.ask(b"GET / HTTP/1.1\r\nHost: a\r\n" + more)

        assert answer.startswith(b"HTTP/1.1 431 ")


async def test_a_bug_in_a_library_that_a_client_finds_ends_only_its_connection(
    app: HookbotApp, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    next_event = StrictConnection.next_event

    def fail_on_boom(self: StrictConnection) -> Any:
        if b"boom" in self.trailing_data[0]:
            raise RuntimeError("a bug")
        return next_event(self)

    monkeypatch.setattr(StrictConnection, "next_event", fail_on_boom)
    async with open_app(app) as hub, await hub.connect() as other:
        assert await hub.ask(GET.replace(b"/ ", b"/boom ")) == b""

        await other.send(GET)
        assert b"200" in await other.until(b"hello")
    assert "RuntimeError('a bug')" in caplog.text


async def test_an_app_that_fails_beneath_the_framework_is_answered_by_500_and_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def app(scope: dict[str, Any], receive: Callable[..., Any], send: Callable[..., Any]) -> None:
        raise KeyError("a bug")

    async with open_app(app) as hub:
        assert (await hub.ask(GET)).startswith(b"HTTP/1.1 500 ")
    assert "KeyError: 'a bug'" in caplog.text


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
async def test_a_connection_is_closed_after_a_response_that_says_so(app: HookbotApp, sent: bytes) -> None:
    async with open_app(app) as hub:
        answer = await hub.ask(sent)

        assert b"\r\nconnection: close\r\n" in answer.lower()
        assert answer.endswith((b"hello", b"limit.</p>\n", b"Unauthorized"))


async def test_an_idle_connection_is_closed_after_a_while(app: HookbotApp) -> None:
    async with open_app(app, keep_alive_s=0.05) as hub:
        assert (await hub.ask(GET)).endswith(b"hello")


async def test_a_connection_is_kept_for_more_requests_also_when_they_come_at_once(app: HookbotApp) -> None:
    async with open_app(app) as hub, await hub.connect() as client:
        await client.send(GET * 3)

        for _ in range(3):
            await client.until(b"hello")
        await client.send(POST + b"Transfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\nX-Trailer: 1\r\n\r\n" + GET)
        await client.until(b"3 bytes")
        await client.until(b"hello")


@pytest.mark.parametrize(
    ("sent", "limits"),
    [
        pytest.param(b"GET / HTTP/1.1\r\nHo", {"slow_s": 0.05}, id="half a head"),
        pytest.param(POST + b"Content-Length: 9\r\n\r\nabc", {"slow_s": 0.05}, id="half a body"),
        pytest.param(GET + b"GET", {"slow_s": 0.05}, id="half a second head"),
    ],
)
async def test_a_sender_who_stops_in_the_middle_of_a_request_is_answered_by_408(
    app: HookbotApp, sent: bytes, limits: dict[str, float]
) -> None:
    async with open_app(app, **limits) as hub:
        answer = await hub.ask(sent)

        assert b"HTTP/1.1 408 Request Timeout\r\n" in answer
        assert answer.endswith(b"the request did not arrive in time\n")


async def test_whoever_connects_and_says_nothing_is_closed(app: HookbotApp) -> None:
    async with open_app(app, slow_s=0.05, keep_alive_s=GUARD_S) as hub:
        assert await hub.ask(b"") == b""


@pytest.mark.parametrize(
    ("begun", "limits"),
    [
        pytest.param(b"GET / HTTP/1.1\r\nX: ", {"slow_s": 0.2}, id="head"),
        pytest.param(GET + b"GET / HTTP/1.1\r\nX: ", {"slow_s": 0.2}, id="second head"),
        pytest.param(POST + b"Content-Length: 1000000\r\n\r\n", {"body_s": 0.2}, id="body"),
    ],
)
async def test_a_request_that_comes_byte_by_byte_has_to_be_whole_in_time(
    app: HookbotApp, begun: bytes, limits: dict[str, float]
) -> None:
    async with open_app(app, linger_s=0.05, **limits) as hub, await hub.connect() as client:
        await client.send(begun)
        with pytest.raises(trio.BrokenResourceError):  # noqa: PT012 - until the hub has had enough
            while True:
                await client.send(b"x")
                await trio.sleep(0.01)


async def test_a_response_whose_reader_takes_nothing_is_cut_off() -> None:
    app = endless_app()
    ours, theirs = (trio.SocketStream(end) for end in trio.socket.socketpair())  # which has no TCP_USER_TIMEOUT
    with trio.fail_after(GUARD_S):
        async with theirs:
            await theirs.send_all(GET.replace(b"/ ", b"/flood "))
            await Server(app, ConnectionLimits(stall_s=0.05)).serve_connection(ours)

    assert app.ended.is_set()


async def test_a_response_ends_when_its_reader_is_gone() -> None:
    app = endless_app()
    async with open_app(app) as hub, await hub.connect() as client:
        await client.send(GET)
        await client.until(b"begun")
        await trio.aclose_forcefully(client.stream)

        await app.ended.wait()


async def test_a_client_that_ends_its_side_after_the_request_still_gets_the_answer(app: HookbotApp) -> None:
    async with open_app(app) as hub, await hub.connect() as client:
        await client.send(POST + b"Content-Length: 3\r\n\r\nabc")
        await client.stream.send_eof()

        assert (await client.rest()).endswith(b"3 bytes")


async def test_a_stream_may_last_longer_than_any_timeout_of_the_framework() -> None:
    assert endless_app().config["RESPONSE_TIMEOUT"] is None


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
    app: HookbotApp, path: bytes, length: bytes, status: bytes
) -> None:
    async with open_app(app) as hub:
        sent = b"POST %b HTTP/1.1\r\nHost: hub\r\nExpect: 100-continue\r\nContent-Length: %b\r\n\r\n" % (path, length)
        answer = await hub.ask(sent)

        assert answer.startswith(b"HTTP/1.1 " + status)
        assert b"100" not in answer.partition(b"\r\n")[0]


async def test_a_body_is_invited_when_somebody_begins_to_read_it(app: HookbotApp) -> None:
    async with open_app(app, slow_s=GUARD_S) as hub, await hub.connect() as client:
        await client.send(POST + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\n")
        assert (await client.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 100")

        await client.send(b"abc")

        assert (await client.until(b"3 bytes")).startswith(b"HTTP/1.1 200")


async def test_a_client_that_waits_for_its_invitation_is_not_taken_for_a_slow_one(app: HookbotApp) -> None:
    @app.post("/slow")
    async def slow():
        await trio.sleep(0.2)
        return await request.get_data()

    async with open_app(app, slow_s=0.1) as hub, await hub.connect() as client:
        await client.send(b"POST /slow HTTP/1.1\r\nHost: hub\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")

        assert (await client.until(b"\r\n")).startswith(b"HTTP/1.1 100 ")


async def test_an_invited_body_that_does_not_come_is_answered_by_408(app: HookbotApp) -> None:
    async with open_app(app, slow_s=0.05) as hub:
        answer = await hub.ask(POST + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\n")

        assert answer.startswith(b"HTTP/1.1 100 ")
        assert b"HTTP/1.1 408 " in answer


# --- h2c, lifespan, middleware


async def test_an_upgrade_to_http2_on_cleartext_is_ignored(app: HookbotApp) -> None:
    async with open_app(app) as hub:
        upgrade = b"Connection: close, Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"
        answer = await hub.ask(b"GET / HTTP/1.1\r\nHost: hub\r\n" + upgrade + b"\r\n")

        assert answer.startswith(b"HTTP/1.1 200 ")
        assert answer.endswith(b"hello")


async def test_a_background_task_of_the_app_is_refused_so_that_none_can_die_unseen(
    app: HookbotApp, caplog: pytest.LogCaptureFixture
) -> None:
    @app.get("/task")
    async def task() -> None:
        app.add_background_task(trio.sleep_forever)

    async with open_app(app) as hub:
        assert (await hub.ask(b"GET /task HTTP/1.0\r\n\r\n")).startswith(b"HTTP/1.1 500 ")
    assert "the hub's tasks live in its own nursery" in caplog.text


async def test_a_middleware_may_copy_the_scope_deeply(app: HookbotApp) -> None:
    async def copying(scope: dict[str, Any], receive: Callable[..., Any], send: Callable[..., Any]) -> None:
        await app(copy.deepcopy(scope), receive, send)

    async with open_app(copying) as hub:
        sent = POST + b"Connection: close\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n"
        assert (await hub.ask(sent)).endswith(b"0 bytes")


async def test_nothing_is_written_to_the_log_for_a_request(
    app: HookbotApp, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.INFO)
    async with open_app(app) as hub:
        await hub.ask(b"GET /secret?token=secret HTTP/1.0\r\n\r\n")
    assert "secret" not in caplog.text + "".join(capfd.readouterr())


# --- accepting, handing over, shutting down


async def test_a_connection_of_which_something_was_read_already_is_served(app: HookbotApp) -> None:
    async with open_app(app) as hub:
        listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
        stream = await trio.testing.open_stream_to_socket_listener(listener)
        async with Client(stream) as client, trio.open_nursery() as nursery:
            rest = PrefixedStream(POST + b"Content-Length: 6\r\n\r\nab", await listener.accept())
            nursery.start_soon(hub.server.serve_connection, rest)
            await client.send(b"cdef" + GET)

            await client.until(b"6 bytes")
            await client.until(b"hello")
            await client.stream.send_eof()
        await listener.aclose()


class Exhausted(trio.abc.Listener):
    """A listener of a process that has no file descriptor left, once."""

    def __init__(self, listener: trio.SocketListener, code: int) -> None:
        self.listener = listener
        self.errors = [OSError(code, "no more")]

    async def accept(self) -> trio.SocketStream:
        if self.errors:
            raise self.errors.pop()
        return await self.listener.accept()

    async def aclose(self) -> None:
        await self.listener.aclose()


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE])
async def test_running_out_of_file_descriptors_is_waited_out(app: HookbotApp, code: int) -> None:
    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    server = Server(app)
    with trio.fail_after(GUARD_S):
        async with trio.open_nursery() as nursery:
            await nursery.start(server.serve_listeners, [Exhausted(listener, code)])
            async with Client(await trio.testing.open_stream_to_socket_listener(listener)) as client:
                await client.send(GET)
                await client.until(b"hello")
            server.shut_down()


async def test_a_shutdown_closes_what_is_idle_and_lets_answers_finish() -> None:
    app = HookbotApp("test", max_body_bytes=1000)
    begun, go_on = trio.Event(), trio.Event()

    @app.get("/")
    async def slow() -> str:
        begun.set()
        await go_on.wait()
        return "hello"

    async with open_app(app, grace_s=GUARD_S) as hub, await hub.connect() as idle, await hub.connect() as busy:
        await busy.send(GET)
        await begun.wait()
        hub.server.shut_down()

        assert await idle.rest() == b""
        go_on.set()
        answer = await busy.rest()
        assert b"\r\nconnection: close\r\n" in answer.lower()
        assert answer.endswith(b"hello")
        with pytest.raises(OSError, match="connect"):
            await hub.connect()


async def test_a_shutdown_cuts_what_does_not_end_also_when_its_reader_takes_nothing() -> None:
    app = endless_app()
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    server = Server(app, ConnectionLimits(grace_s=0.05, stall_s=1000))
    with trio.fail_after(GUARD_S):
        async with trio.open_nursery() as nursery:
            await nursery.start(server.serve_listeners, listeners)
            stalled = Client(await trio.testing.open_stream_to_socket_listener(listeners[0]))
            await stalled.send(GET.replace(b"/ ", b"/flood "))
            await stalled.stream.receive_some(1)
            server.shut_down()
        assert app.ended.is_set()
        await trio.aclose_forcefully(stalled.stream)
