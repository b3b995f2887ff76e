"""Quart-Trio, mended: the app that the hub's routes are put on, and what a route needs beside Quart's own objects."""

from collections.abc import Awaitable, Callable, Generator
from functools import partial
from typing import Any, NoReturn

import trio
from quart import Request, Websocket
from quart_trio import QuartTrio
from quart_trio.asgi import TrioASGIHTTPConnection, TrioASGIWebsocketConnection
from quart_trio.wrappers import TrioRequest
from quart_trio.wrappers.request import TrioBody

from ...protocol.request import Request as PlainRequest
from ...protocol.websocket import INTERNAL_ERROR, POLICY_VIOLATION, TRY_AGAIN_LATER
from .connection import CONTINUE

_PLAIN = "hookbot.request"


def plain_request(request: Request | Websocket) -> PlainRequest:
    """The request as it was sent, read once: target undecoded (trap 12), headers in their order and case.

    Relies on ``scope["raw_path"]`` being what was sent, which Hypercorn, uvicorn and Quart's test client keep.
    """
    scope: Any = request.scope
    if _PLAIN not in scope:
        query = scope["query_string"]
        scope[_PLAIN] = PlainRequest(
            scope.get("method", "GET"),
            scope["raw_path"] + (b"?" + query if query else b""),
            tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]),
            client=(scope.get("client") or ("",))[0].removeprefix("::ffff:"),
            secure=scope["scheme"] in ("https", "wss"),
            certificate=scope.get("state", {}).get("certificate"),
        )
    plain: PlainRequest = scope[_PLAIN]
    return plain


async def discard_incoming(websocket: Websocket) -> None:
    """Read and forget; for a handler that only sends (trap 6: what is not read hides the peer's pings and goodbye)."""
    while True:
        await websocket.receive()


class _InvitedBody(TrioBody):
    """Asks for a body that the peer holds back (``Expect: 100-continue``) when somebody begins to read it."""

    invite: Callable[[], Awaitable[None]] | None = None

    def __await__(self) -> Generator[Any, None, Any]:
        yield from self._begin().__await__()
        return (yield from super().__await__())

    async def __anext__(self) -> bytes:
        await self._begin()
        return await super().__anext__()

    async def _begin(self) -> None:
        invite, self.invite = self.invite, None
        if invite and self._must_raise is None:
            await invite()


class _Request(TrioRequest):
    body_class = _InvitedBody


class _HTTPConnection(TrioASGIHTTPConnection):
    def _create_request_from_scope(self, send: Any) -> Request:
        request = super()._create_request_from_scope(send)
        if CONTINUE in self.scope.get("extensions", {}) and isinstance(request.body, _InvitedBody):
            request.body.invite = partial(send, {"type": CONTINUE})
        return request


class _WebsocketConnection(TrioASGIWebsocketConnection):
    """Lets the app know how far a websocket is, by an attribute `connection` of it."""

    def _create_websocket_from_scope(self, send: Any) -> Websocket:
        websocket = super()._create_websocket_from_scope(send)
        websocket.connection = self  # type: ignore[attr-defined]
        return websocket

    async def handle_messages(self, nursery: trio.Nursery, receive: Any) -> None:  # type: ignore[override]
        """As Quart-Trio's, which makes None of an empty binary message (trap 10)."""
        while (event := await receive())["type"] != "websocket.disconnect":
            if event["type"] == "websocket.receive":
                text, data = event.get("text"), event.get("bytes")
                await self.send_channel.send(data if text is None else text)
        nursery.cancel_scope.cancel()


class HookbotApp(QuartTrio):
    """A Quart-Trio app for the open internet; to be served by `hookbot.web.asgi.Server`, and by others."""

    asgi_http_class = _HTTPConnection
    asgi_websocket_class = _WebsocketConnection
    request_class = _Request

    def __init__(self, name: str, *, max_body_bytes: int) -> None:
        super().__init__(name, static_folder=None)
        self.config["MAX_CONTENT_LENGTH"] = max_body_bytes
        self.config["BODY_TIMEOUT"] = None  # the server has deadlines for it, also where a handler has none
        self.config["RESPONSE_TIMEOUT"] = None  # trap 15: Quart ends streams after a minute
        self.url_map.merge_slashes = False  # trap 12: Quart redirects /pub//a
        self.url_map.strict_slashes = False

    def create_url_adapter(self, request: Any) -> Any:
        """Route by path alone: what a stranger writes into ``Host`` can be no host at all."""
        if request is None:
            return super().create_url_adapter(request)
        return self.url_map.bind("hub", request.root_path, None, request.scheme, request.method, request.path)

    def add_background_task(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse: a task of the app's own could end while requests go on being answered (trap 11)."""
        raise RuntimeError("the hub's tasks live in its own nursery, outside the app")

    async def handle_websocket(self, websocket: Websocket) -> Any:
        """Say by the close code how a handler failed after the handshake (trap 8: Quart says 1000, all is well)."""
        response = await super().handle_websocket(websocket)
        connection: Any = getattr(websocket, "connection", None)
        if response is None or connection is None or not connection._accepted or connection._closed:
            return response
        await websocket.close(_close_code(response.status_code))
        return None


def _close_code(status: int) -> int:
    if status in (429, 503):
        return TRY_AGAIN_LATER
    return POLICY_VIOLATION if status < 500 else INTERNAL_ERROR
