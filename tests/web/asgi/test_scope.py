"""The request as it was sent, found in the scope of an ASGI server."""

from quart import request, websocket

from hookbot.web.asgi.scope import request_of
from support.apps import ObservedApp, open_app
from support.clients import handshake


async def test_headers_keep_their_order_their_case_and_their_bytes(app: ObservedApp) -> None:
    seen = []
    app.before_request(lambda: seen.append(request_of(request.scope)))
    async with open_app(app) as hub:
        await hub.ask(
            b"GET /before/ HTTP/1.1\r\nhOST: hub\r\nX-B: 1\r\nx-a: \xff\r\nX-B: 2\r\nConnection: close\r\n\r\n"
        )

    [plain] = seen
    assert plain.headers == (("hOST", "hub"), ("X-B", "1"), ("x-a", "\xff"), ("X-B", "2"), ("Connection", "close"))
    assert (plain.method, plain.client, plain.secure, plain.certificate) == ("GET", "127.0.0.1", False, None)


async def test_a_websocket_can_be_seen_as_it_was_sent_too(app: ObservedApp) -> None:
    seen = []

    @app.websocket("/ws/<path:rest>")
    async def handler(rest: str) -> None:
        seen.append(request_of(websocket.scope))
        await websocket.accept()

    async with open_app(app) as hub:
        await hub.ask(handshake("/ws/%61?b", "X-Hookbot-Unsafe-Is-Ok: I do"))

    [plain] = seen
    assert (plain.method, plain.target) == ("GET", b"/ws/%61?b")
    assert ("X-Hookbot-Unsafe-Is-Ok", "I do") in plain.headers
