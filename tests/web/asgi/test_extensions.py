"""Extensions of ASGI: large messages and responses, and connections that the app ends; also on other servers."""

from collections.abc import AsyncIterator, Callable

import pytest
import trio
from quart import Response, request, websocket
from quart.testing import QuartClient
from websockets.frames import Frame, Opcode

from hookbot.protocol.envelope import LARGE_BODY
from hookbot.protocol.websocket import BINARY, TEXT
from hookbot.web.asgi import abort_of, pieces, send_message
from hookbot.web.asgi.extensions import PIECE_BYTES
from support.apps import ObservedApp, open_app
from support.clients import masked, messages

SIZE = 8 * LARGE_BODY


@pytest.fixture
def app() -> ObservedApp:
    """An app that sends a small and a large message."""
    app = ObservedApp()

    @app.websocket("/text")
    async def text() -> None:
        await websocket.accept()
        await send_message(websocket, b"small", text=True)
        await send_message(websocket, b"x" * SIZE, text=True)
        await websocket.receive()

    @app.websocket("/binary")
    async def binary() -> None:
        await websocket.accept()
        await send_message(websocket, b"small", text=False)
        await send_message(websocket, b"x" * SIZE, text=False)
        await websocket.receive()

    return app


@pytest.mark.parametrize(("path", "opcode"), [("/text", TEXT), ("/binary", BINARY)])
async def test_a_large_message_is_one_frame_like_a_small_one(app: ObservedApp, path: str, opcode: int) -> None:
    async with open_app(app) as hub:
        socket = await (await hub.websocket(path)).accepted()

        assert await socket.frame() == Frame(Opcode(opcode), b"small")
        assert await socket.frame() == Frame(Opcode(opcode), b"x" * SIZE)


async def test_a_pong_does_not_get_into_a_large_message(app: ObservedApp) -> None:
    async with open_app(app) as hub:
        socket = await (await hub.websocket("/binary")).accepted()
        await socket.client.send(masked(Opcode.PING, b"?") * 10)

        assert [len(payload) for payload in await socket.payloads(2)] == [5, SIZE]


async def test_a_large_message_after_the_clients_close_frame_is_not_sent(app: ObservedApp) -> None:
    @app.websocket("/late")
    async def late() -> None:
        await websocket.accept()
        await app.go_on.wait()
        await send_message(websocket, b"x" * SIZE, text=False)

    async with open_app(app) as hub:
        socket = await (await hub.websocket("/late")).accepted()
        await socket.client.send(messages(b"x"))
        await socket.client.send(masked(Opcode.CLOSE, b"\x03\xe8"))
        closing = await socket.frame()
        assert closing
        assert closing.opcode is Opcode.CLOSE
        app.go_on.set()

        assert await socket.frame() is None


@pytest.mark.parametrize("path", ["/text", "/binary"])
async def test_another_server_sends_a_large_message_in_its_own_way(app: ObservedApp, path: str) -> None:
    client: QuartClient = app.test_client()  # type: ignore[assignment]
    async with client.websocket(path) as socket:
        received = [await socket.receive(), await socket.receive()]

    assert [len(one) for one in received] == [5, SIZE]
    assert isinstance(received[0], str if path == "/text" else bytes)


async def test_the_app_can_end_a_connection_while_it_sends(app: ObservedApp) -> None:
    @app.get("/")
    async def endless() -> Response:
        async def body() -> AsyncIterator[bytes]:
            try:
                while True:
                    yield bytes(1 << 20)
            finally:
                app.ended.set()

        abort = abort_of(request)
        trio.lowlevel.spawn_system_task(abort_later, app.go_on, abort)
        return Response(body())

    async def abort_later(when: trio.Event, abort: Callable[[], None]) -> None:
        await when.wait()
        abort()

    async with open_app(app, stall_s=1000) as hub, await hub.connect() as client:
        await client.send(b"GET / HTTP/1.1\r\nHost: hub\r\n\r\n")
        await client.exactly(100)
        app.go_on.set()

        await app.ended.wait()


async def test_on_another_server_a_connection_is_left_to_its_timeouts(app: ObservedApp) -> None:
    @app.get("/")
    async def index() -> str:
        abort_of(request)()
        return "hello"

    response = await app.test_client().get("/")

    assert await response.get_data() == b"hello"


@pytest.mark.parametrize("size", [0, 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES])
def test_pieces_are_the_whole(size: int) -> None:
    data = bytes(range(256)) * (size // 256 + 1)
    data = data[:size]

    cut = list(pieces(data))

    assert b"".join(cut) == data
    assert all(0 < len(piece) <= PIECE_BYTES for piece in cut)
