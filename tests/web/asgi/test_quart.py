"""The Quart side of `hookbot.web.asgi`: what a handler sees of a request, exactly as it was sent."""

import pytest
import trio
from quart import abort, request, websocket

from hookbot.errors import Refused
from hookbot.protocol.topics import decode_path
from hookbot.web.asgi import plain_request
from support.apps import ObservedApp, endless_app, open_app
from support.clients import messages


@pytest.fixture
def app() -> ObservedApp:
    """An app that answers by what it was asked, before any route."""
    app = ObservedApp(max_body_bytes=100)

    @app.before_request
    async def tell() -> tuple[str, int] | str | None:
        plain = plain_request(request)
        try:
            path = decode_path(plain.raw_path)
        except Refused as refused:
            return f"{plain.target!r} {refused}", refused.status
        if path.startswith("/before/"):
            return f"{plain.target!r} {path}"
        return None

    @app.get("/path/<path:rest>")
    async def routed(rest: str) -> str:
        return f"routed {rest}"

    return app


@pytest.mark.parametrize(
    ("target", "status", "text"),
    [
        (b"/before/a", b"200", b"b'/before/a' /before/a"),
        (b"/before/a/", b"200", b"b'/before/a/' /before/a/"),
        (b"/before/%61?x=%61", b"200", b"b'/before/%61?x=%61' /before/a"),
        (b"http://elsewhere:80/before/a?b", b"200", b"b'/before/a?b' /before/a"),
        (b"HTTPS://elsewhere/before/a", b"200", b"b'/before/a' /before/a"),
        (b"//before/a", b"400", b"b'//before/a' invalid topic '//before/a': it has an empty"),
        (b"/before//a", b"400", b"b'/before//a' invalid topic '/before//a': it has an empty"),
        (b"http://elsewhere//before/a", b"400", b"b'//before/a' invalid topic '//before/a': it has an empty"),
        (b"/before/../a", b"400", b"b'/before/../a' invalid topic '/before/../a': it has an empty"),
        (b"/before/%ff", b"400", b"not UTF-8"),
        (b"/before/a%2Fb", b"400", b"it has %2F"),
        (b"/before/%00", b"400", b"it has %2F, %00"),
        (b"/before/%zz", b"400", b"a broken escape"),
        (b"/path/a%20b", b"200", b"routed a b"),
        (b"/path/a/", b"200", b"routed a/"),
        (b"/nowhere", b"404", b"Not Found"),
    ],
)
async def test_a_handler_sees_the_target_as_it_was_sent_and_nothing_is_redirected(
    app: ObservedApp, target: bytes, status: bytes, text: bytes
) -> None:
    async with open_app(app) as hub:
        answer = await hub.ask(b"GET %b HTTP/1.0\r\n\r\n" % target)

        assert answer.startswith(b"HTTP/1.1 " + status)
        assert text in answer


@pytest.mark.parametrize("target", [b"/path//a", b"/path//a/", b"/path/a//b"])
async def test_slashes_are_not_merged_by_a_redirect(target: bytes) -> None:
    app = ObservedApp(max_body_bytes=100)

    @app.get("/path/<path:rest>")
    async def routed(rest: str) -> str:
        return f"routed {rest}"

    async with open_app(app) as hub:
        answer = await hub.ask(b"GET %b HTTP/1.0\r\n\r\n" % target)

        assert answer.startswith((b"HTTP/1.1 200 ", b"HTTP/1.1 404 "))


@pytest.mark.parametrize("host", [b"", b"a..b", b"x" * 70, b"[", b"::", b"hub:99999999", b"a:b:c", b"%41", b"-"])
async def test_a_host_that_is_none_does_no_harm(
    app: ObservedApp, host: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_app(app) as hub:
        answer = await hub.ask(b"GET /path/a HTTP/1.1\r\nHost: %b\r\nConnection: close\r\n\r\n" % host)

        assert answer.endswith(b"routed a")
    assert caplog.text == ""


async def test_the_app_answers_quarts_own_test_client(app: ObservedApp) -> None:
    client = app.test_client()

    assert await (await client.get("/path/a%20b")).get_data() == b"routed a b"
    assert (await client.get("/before//a")).status_code == 400
    assert (await client.post("/path/a", data=bytes(101))).status_code == 405


async def test_a_stream_may_last_longer_than_any_timeout_of_the_framework() -> None:
    assert endless_app().config["RESPONSE_TIMEOUT"] is None


async def test_a_background_task_of_the_app_is_refused_so_that_none_can_die_unseen(
    app: ObservedApp, caplog: pytest.LogCaptureFixture
) -> None:
    @app.get("/task")
    async def task() -> str:
        app.add_background_task(trio.sleep_forever)
        return "never reached"

    async with open_app(app) as hub:
        assert (await hub.ask(b"GET /task HTTP/1.0\r\n\r\n")).startswith(b"HTTP/1.1 500 ")
    assert "the hub's tasks live in its own nursery" in caplog.text


@pytest.mark.parametrize("whole", [True, False])
async def test_a_handler_that_begins_to_read_a_body_invites_the_client_to_send_it(whole: bool) -> None:
    app = ObservedApp(max_body_bytes=100)

    @app.post("/")
    async def publish() -> bytes:
        if whole:
            body: bytes = await request.body
            return body
        return b"".join([chunk async for chunk in request.body])

    async with open_app(app) as hub, await hub.connect() as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: hub\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
        assert (await client.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
        await client.send(b"abc")

        assert (await client.until(b"abc")).startswith(b"HTTP/1.1 200 ")


async def test_a_body_that_is_too_large_by_its_declared_length_is_not_invited() -> None:
    app = ObservedApp(max_body_bytes=2)

    @app.post("/")
    async def publish() -> bytes:
        body: bytes = await request.body
        return body

    async with open_app(app) as hub:
        sent = b"POST / HTTP/1.1\r\nHost: hub\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"
        assert (await hub.ask(sent)).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("data", [b"", b"hello", "text"])
async def test_a_handler_receives_each_message_as_it_was_sent(data: bytes | str) -> None:
    app = ObservedApp()

    @app.websocket("/ws")
    async def echo() -> None:
        await websocket.accept()
        received = await websocket.receive()
        await websocket.close(4000 if received == data and type(received) is type(data) else 4001)

    async with open_app(app) as hub:
        socket = await (await hub.websocket()).accepted()
        await socket.send(data)

        assert await socket.closed() == 4000


@pytest.mark.parametrize(("status", "code"), [(400, 1008), (401, 1008), (429, 1013), (503, 1013), (500, 1011)])
async def test_a_handler_that_fails_after_the_handshake_says_so_by_its_close_code(status: int, code: int) -> None:
    app = ObservedApp()

    @app.websocket("/ws")
    async def fails() -> None:
        await websocket.accept()
        abort(status)

    async with open_app(app) as hub:
        assert await (await (await hub.websocket()).accepted()).closed() == code


async def test_a_handler_may_read_and_forget_what_a_client_sends() -> None:
    app = ObservedApp()

    @app.websocket("/ws")
    async def deaf() -> None:
        await websocket.accept()
        while True:
            await websocket.receive()

    async with open_app(app) as hub:
        socket = await (await hub.websocket()).accepted()
        await socket.client.send(messages(*[b"x"] * 100))
        socket.protocol.send_close(1000)
        await socket.client.send(b"".join(socket.protocol.data_to_send()))

        assert await socket.closed() == 1000
