"""Websockets behind `hookbot.web.asgi`: close frames in both directions, and that nobody stays who does not answer."""

import pytest
import trio
import trio.testing
from quart import abort, websocket
from trio.testing import MockClock
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.frames import Frame, Opcode

from hookbot.errors import Unauthorized, Unavailable
from hookbot.web.limits import NOISE, TOO_NOISY
from support import GUARD_S
from support.apps import ObservedApp, open_app
from support.clients import WebSocket, fragmented, handshake, masked, messages


@pytest.fixture
def app() -> ObservedApp:
    """An app with handlers of several kinds; `ended` is set when one of them has ended."""
    app = ObservedApp()

    @app.websocket("/ws")
    async def echo() -> None:
        await websocket.accept(subprotocol=next(iter(websocket.requested_subprotocols), None))
        while True:
            await websocket.send(await websocket.receive())

    @app.websocket("/silent")
    async def silent() -> None:
        await websocket.accept()
        try:
            await trio.sleep_forever()
        finally:
            app.ended.set()

    @app.websocket("/deaf")
    async def deaf() -> None:
        await websocket.accept()
        try:
            while True:
                await websocket.receive()
        finally:
            app.ended.set()

    @app.websocket("/undecided")
    async def undecided() -> None:
        app.begun.set()
        await app.go_on.wait()
        await websocket.accept()
        await trio.sleep_forever()

    @app.websocket("/flood")
    async def flood() -> None:
        await websocket.accept()
        try:
            while True:
                await websocket.send(bytes(1 << 20))
        finally:
            app.ended.set()

    @app.websocket("/refused")
    async def refused() -> None:
        abort(403)

    return app


def busy_app() -> ObservedApp:
    """An app with a handler that is busy with something else before it receives."""
    app = ObservedApp()

    @app.websocket("/ws")
    async def busy() -> None:
        await websocket.accept()
        await app.go_on.wait()
        try:
            while True:
                app.heard.append(await websocket.receive())
        finally:
            app.ended.set()

    return app


def close(socket: WebSocket) -> bytes:
    """The close frame of a websocket, as bytes, to be sent together with others."""
    socket.protocol.send_close(1000)
    return b"".join(socket.protocol.data_to_send())


# --- handshakes


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(handshake("/ws", "Sec-WebSocket-Protocol: \xff"), id="subprotocol that is not ASCII"),
        pytest.param(handshake("/ws", "Sec-WebSocket-Extensions: \xff"), id="extension that is not ASCII"),
        pytest.param(handshake("/ws", "Content-Length: 3") + b"abc\r\n", id="with a body"),
        pytest.param(handshake("/ws", "Content-Length: 3"), id="announcing a body"),
        pytest.param(handshake("/ws", "Transfer-Encoding: chunked") + b"3\r\nabc\r\n\r\n", id="with a chunked body"),
    ],
)
async def test_a_malformed_handshake_is_answered_by_400_and_ends_only_its_connection(
    app: ObservedApp, sent: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_app(app) as hub:
        assert (await hub.ask(sent)).startswith(b"HTTP/1.1 400 ")

        await (await hub.websocket()).accepted()
    assert caplog.text == ""


@pytest.mark.parametrize("wrong", [(b"13", b"8"), (b"Sec-WebSocket-Key", b"X-Key"), (b"HTTP/1.1", b"HTTP/1.0")])
async def test_a_handshake_of_another_version_is_answered_by_400_and_closed(
    app: ObservedApp, wrong: tuple[bytes, bytes]
) -> None:
    async with open_app(app) as hub:
        assert (await hub.ask(handshake("/ws").replace(*wrong))).startswith(b"HTTP/1.1 400 ")


async def test_frames_before_the_handshake_is_answered_wait_for_the_response(app: ObservedApp) -> None:
    async with open_app(app) as hub, await hub.connect() as client:
        await client.send(handshake("/undecided") + masked(Opcode.PING, b"1"))
        await app.begun.wait()
        await client.send(masked(Opcode.PING, b"2"))
        app.go_on.set()

        assert (await client.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        await client.until(b"\x8a\x011\x8a\x012")


async def test_frames_before_a_handshake_is_refused_are_ignored(app: ObservedApp) -> None:
    async with open_app(app) as hub:
        answer = await hub.ask(handshake("/refused") + messages(b"too early"))

        assert answer.startswith(b"HTTP/1.1 403 ")
        assert answer.endswith(b"</p>\n")


async def test_a_handshake_that_is_never_answered_does_not_hang_for_ever(app: ObservedApp) -> None:
    async with open_app(app, deaf_s=0.05) as hub:
        assert await hub.ask(handshake("/undecided")) == b""


async def test_a_refused_handshake_is_answered_and_closed(app: ObservedApp) -> None:
    async with open_app(app) as hub:
        socket = await hub.websocket("/refused")

        assert (await socket.answered()).status == 403


async def test_permessage_deflate_is_not_agreed_to(app: ObservedApp) -> None:
    async with open_app(app) as hub:
        socket = await hub.websocket(extensions=[ClientPerMessageDeflateFactory()])

        assert (await socket.accepted()).protocol.extensions == []


async def test_a_subprotocol_is_agreed_to(app: ObservedApp) -> None:
    async with open_app(app) as hub:
        socket = await hub.websocket(subprotocol=["hookbot.v1", "hookbot.raw"])

        assert (await socket.accepted()).protocol.subprotocol == "hookbot.v1"


# --- messages


@pytest.mark.parametrize("data", [b"", b"\0", bytes(65536), "", "text", "\U0001f600" * 16384])
async def test_a_message_arrives_as_it_was_sent(app: ObservedApp, data: str | bytes) -> None:
    async with open_app(app) as hub:
        socket = await (await hub.websocket()).accepted()
        await socket.send(data)

        first = await socket.frame()
        assert isinstance(first, Frame)
        received = bytes(first.data) if first.fin else bytes(first.data) + (await socket.take() or b"")
        assert first.opcode is (Opcode.TEXT if isinstance(data, str) else Opcode.BINARY)
        assert received == (data.encode() if isinstance(data, str) else data)


@pytest.mark.parametrize("data", [bytes(65537), "x" * 65537, "\U0001f600" * 16385])
async def test_a_message_that_is_too_big_is_answered_by_1009_and_nothing_more_of_it_is_kept(
    app: ObservedApp, data: bytes | str
) -> None:
    async with open_app(app) as hub:
        socket = await (await hub.websocket()).accepted()
        await socket.send(data)

        assert await socket.closed() == 1009


async def test_a_message_that_is_too_big_ends_the_connection_also_while_it_goes_on(app: ObservedApp) -> None:
    async with open_app(app, linger_s=0.05) as hub:
        socket = await (await hub.websocket("/silent")).accepted()
        with pytest.raises(trio.BrokenResourceError):  # noqa: PT012 - until the hub has had enough
            while True:
                await socket.client.send(messages(bytes(1 << 20)))

        await app.ended.wait()


async def test_a_message_that_is_too_big_ends_the_connection_also_behind_messages_that_nobody_reads(
    app: ObservedApp,
) -> None:
    async with open_app(app) as hub:
        socket = await (await hub.websocket("/silent")).accepted()
        unread = [b"x"] * 2  # one in the server's queue, one on its way to the handler
        await socket.client.send(messages(*unread, bytes(65537)))

        assert await socket.closed() == 1009


async def test_of_messages_that_nobody_reads_few_are_taken(app: ObservedApp) -> None:
    @app.websocket("/late")
    async def late() -> None:
        await websocket.accept()
        await app.go_on.wait()
        await websocket.send("begins to read")
        while True:
            await websocket.receive()

    async with open_app(app) as hub:
        socket = await (await hub.websocket("/late")).accepted()
        await socket.client.send(messages(*[b"x"] * 3, bytes(65537)))
        await trio.testing.wait_all_tasks_blocked()
        app.go_on.set()

        frames = [await socket.frame(), await socket.frame()]
        assert [frame and frame.opcode for frame in frames] == [Opcode.TEXT, Opcode.CLOSE]


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        pytest.param(b"\x83\x80abcd", 1002, id="unknown opcode"),
        pytest.param(b"\x82\x03abc", 1002, id="not masked"),
        pytest.param(b"\xc2\x80abcd", 1002, id="reserved bit"),
        pytest.param(b"\x80\x80abcd", 1002, id="continuation of nothing"),
        pytest.param(b"\x89\xfe\x00\x7eabcd", 1002, id="ping too long"),
        pytest.param(b"\x88\x81\0\0\0\0x", 1002, id="close frame of one byte"),
        pytest.param(b"\x81\x81\0\0\0\0\xff", 1007, id="text that is not UTF-8"),
    ],
)
async def test_a_malformed_frame_is_answered_by_a_close_code(
    app: ObservedApp, frame: bytes, code: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_app(app) as hub:
        socket = await (await hub.websocket()).accepted()
        await socket.client.send(frame)

        assert await socket.closed() == code
    assert caplog.text == ""


TOO_MANY = 2 * NOISE.count
NOISY = {
    "empty fragments": masked(Opcode.BINARY, fin=False) + masked(Opcode.CONT, fin=False) * TOO_MANY,
    "fragments": masked(Opcode.TEXT, b"a", fin=False) + masked(Opcode.CONT, b"a", fin=False) * TOO_MANY,
    "pings": masked(Opcode.PING) * TOO_MANY,
    "pongs": masked(Opcode.PONG, b"a") * TOO_MANY,
}


@pytest.mark.parametrize("path", ["/deaf", "/silent"])
@pytest.mark.parametrize("sent", NOISY.values(), ids=NOISY)
async def test_frames_that_say_nothing_are_answered_by_1008(
    app: ObservedApp, path: str, sent: bytes, caplog: pytest.LogCaptureFixture, mock_clock: MockClock
) -> None:
    async with open_app(app) as hub:
        socket = await (await hub.websocket(path)).accepted()
        await socket.client.send(sent)

        assert await socket.closed() == 1008
    assert f"a subscriber is closed with 1008: {TOO_NOISY}" in caplog.messages


async def test_messages_in_needlessly_many_fragments_are_answered_by_1008(
    app: ObservedApp, mock_clock: MockClock
) -> None:
    async with open_app(app) as hub:
        socket = await (await hub.websocket("/deaf")).accepted()
        await socket.client.send((masked(Opcode.TEXT, fin=False) + masked(Opcode.CONT, b"a")) * TOO_MANY)

        assert await socket.closed() == 1008


async def test_a_message_may_come_in_a_thousand_fragments(app: ObservedApp) -> None:
    async with open_app(app) as hub:
        socket = await (await hub.websocket("/deaf")).accepted()
        await socket.client.send(fragmented(bytes(64 << 10), 64) + close(socket))

        assert await socket.closed() == 1000


async def test_many_messages_are_no_noise_and_neither_are_a_few_pings(app: ObservedApp) -> None:
    async with open_app(app) as hub:
        socket = await (await hub.websocket("/deaf")).accepted()
        await socket.client.send((messages(b"x") * 100 + masked(Opcode.PING)) * 20)
        await socket.client.send(close(socket))

        assert await socket.closed() == 1000


# --- close frames


async def test_a_shutdown_says_1001(app: ObservedApp) -> None:
    async with open_app(app, grace_s=GUARD_S) as hub:
        sockets = [await (await hub.websocket(path)).accepted() for path in ("/ws", "/silent", "/deaf")]
        hub.server.shut_down()

        assert [await socket.closed() for socket in sockets] == [1001] * 3


async def test_a_shutdown_says_1001_also_to_whom_it_finds_undecided(app: ObservedApp) -> None:
    async with open_app(app, grace_s=GUARD_S) as hub:
        socket = await hub.websocket("/undecided")
        await app.begun.wait()
        hub.server.shut_down()
        await trio.testing.wait_all_tasks_blocked()
        app.go_on.set()

        assert await (await socket.accepted()).closed() == 1001


async def test_a_shutdown_does_not_wait_for_one_who_takes_nothing(app: ObservedApp) -> None:
    async with open_app(app, grace_s=0.05, stall_s=1000) as hub:
        await (await hub.websocket("/flood")).accepted()
        hub.server.shut_down()

        await app.ended.wait()


@pytest.mark.parametrize(
    ("error", "code"),
    [(ZeroDivisionError(), 1011), (Unavailable("later"), 1013), (Unauthorized(), 1008)],
)
async def test_a_handler_that_fails_says_so_by_its_close_code(
    app: ObservedApp, error: ZeroDivisionError | Unavailable | Unauthorized, code: int
) -> None:
    @app.websocket("/fails")
    async def fails() -> None:
        await websocket.accept()
        raise error

    @app.errorhandler(Unavailable)
    @app.errorhandler(Unauthorized)
    async def answer(error: Unavailable | Unauthorized) -> tuple[str, int]:
        return str(error), error.status

    async with open_app(app) as hub:
        socket = await (await hub.websocket("/fails")).accepted()

        assert await socket.closed() == code


async def test_a_handler_that_returns_or_closes_says_what_it_means(app: ObservedApp) -> None:
    @app.websocket("/returns")
    async def returns() -> None:
        await websocket.accept()

    @app.websocket("/closes")
    async def closes() -> None:
        await websocket.accept()
        await websocket.close(4000, "enough")

    async with open_app(app) as hub:
        for path, code in (("/returns", 1000), ("/closes", 4000)):
            assert await (await (await hub.websocket(path)).accepted()).closed() == code


async def test_a_ping_of_a_client_is_answered_by_a_pong(app: ObservedApp) -> None:
    async with open_app(app) as hub:
        socket = await (await hub.websocket()).accepted()
        await socket.client.send(masked(Opcode.PING, b"?"))

        assert (await socket.client.until(b"?")).endswith(b"\x8a\x01?")


async def test_what_a_client_sends_after_the_hubs_close_frame_is_ignored(app: ObservedApp) -> None:
    @app.websocket("/closes")
    async def closes() -> None:
        await websocket.accept()
        await websocket.receive()
        await websocket.close(4000)

    async with open_app(app) as hub:
        socket = await (await hub.websocket("/closes")).accepted()
        await socket.client.send(messages(b"go"))
        await socket.client.until(b"\x88\x02\x0f\xa0")

        await socket.client.send(messages(b"x") + masked(Opcode.PING, b"?"))
        await trio.testing.wait_all_tasks_blocked()
        await socket.client.send(masked(Opcode.CLOSE, b"\x0f\xa0"))

        await socket.client.closed()


async def test_both_sides_closing_at_once_is_no_error(app: ObservedApp, caplog: pytest.LogCaptureFixture) -> None:
    @app.websocket("/at-once")
    async def at_once() -> None:
        await websocket.accept()
        await websocket.receive()
        await websocket.close(1000)

    async with open_app(app) as hub:
        for _ in range(10):
            socket = await (await hub.websocket("/at-once")).accepted()
            await socket.client.send(messages(b"go") + close(socket))
            await socket.client.rest()
    assert caplog.text == ""


# --- peers that are gone, stalled or silent


async def test_a_handler_that_sends_in_a_loop_notices_that_its_peer_is_gone(app: ObservedApp) -> None:
    @app.websocket("/loop")
    async def loop() -> None:
        await websocket.accept()
        await websocket.receive()
        try:
            for _ in range(100_000):
                app.sent += 1
                await websocket.send(b"x")
        finally:
            app.ended.set()

    async with open_app(app) as hub:
        socket = await (await hub.websocket("/loop")).accepted()
        await socket.client.send(messages(b"go"))
        await trio.aclose_forcefully(socket.client.stream)

        await app.ended.wait()
        assert app.sent < 100_000


@pytest.mark.parametrize("count", [1, 2, 20])
@pytest.mark.parametrize("closes", [True, False])
async def test_what_a_client_has_sent_before_it_leaves_reaches_a_handler_that_is_busy(closes: bool, count: int) -> None:
    app = busy_app()
    async with open_app(app) as hub:
        socket = await (await hub.websocket()).accepted()
        await socket.client.send(messages(*[b"a message"] * count) + (close(socket) if closes else b""))
        await socket.client.send_eof()
        await trio.testing.wait_all_tasks_blocked()
        app.go_on.set()

        await app.ended.wait()
    assert app.heard == [b"a message"] * count


async def test_what_a_client_has_sent_before_it_resets_the_connection_is_heard() -> None:
    app = busy_app()
    async with open_app(app) as hub:
        socket = await (await hub.websocket()).accepted()
        await socket.client.send(messages(*[b"a message"] * 3) + masked(Opcode.PING, b""))
        await socket.client.reset()
        await trio.testing.wait_all_tasks_blocked()
        app.go_on.set()

        await app.ended.wait()
    assert app.heard == [b"a message"] * 3


async def test_a_peer_that_takes_nothing_is_cut_off(app: ObservedApp) -> None:
    async with open_app(app, stall_s=0.05) as hub:
        await (await hub.websocket("/flood")).accepted()

        await app.ended.wait()


async def test_a_close_frame_is_noticed_behind_many_messages_that_a_handler_does_not_want(app: ObservedApp) -> None:
    async with open_app(app) as hub:
        socket = await (await hub.websocket("/deaf")).accepted()
        await socket.client.send(messages(*[b"x"] * 100) + close(socket))

        assert await socket.closed() == 1000
        await app.ended.wait()


async def test_a_peer_that_is_gone_is_noticed_behind_messages_that_nobody_reads(app: ObservedApp) -> None:
    async with open_app(app, ping_s=0.02) as hub:
        socket = await (await hub.websocket("/silent")).accepted()
        await socket.client.send(messages(*[b"x"] * 100))
        await trio.aclose_forcefully(socket.client.stream)

        await app.ended.wait()


async def test_a_peer_of_whom_nothing_comes_is_dropped_although_it_takes_its_pings(app: ObservedApp) -> None:
    async with open_app(app, ping_s=0.02, deaf_s=0.1, linger_s=0.05) as hub:
        socket = await (await hub.websocket("/silent")).accepted()
        socket.pongs = False

        assert await socket.frame() is None
        await app.ended.wait()


async def test_a_peer_that_answers_its_pings_stays(app: ObservedApp, autojump_clock: MockClock) -> None:
    async with open_app(app, ping_s=1, deaf_s=5) as hub:
        socket = await (await hub.websocket()).accepted()
        with trio.move_on_after(20):
            await socket.frame()

        await socket.send("still here")
        assert await socket.payload() == b"still here"
