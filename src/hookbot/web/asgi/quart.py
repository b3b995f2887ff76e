"""Quart-Trio, hardened: the app class for the hub's routes, and the undecoded request that they read."""

from collections.abc import Awaitable, Callable, Generator
from functools import partial
from typing import Any, NoReturn

import trio
from quart import Request, Websocket
from quart_trio import QuartTrio
from quart_trio.asgi import TrioASGIHTTPConnection, TrioASGIWebsocketConnection
from quart_trio.wrappers import TrioRequest
from quart_trio.wrappers.request import TrioBody

from ...errors import HookbotError
from ...protocol.request import Request as PlainRequest
from ...protocol.websocket import INTERNAL_ERROR, POLICY_VIOLATION, TRY_AGAIN_LATER
from .extensions import AUTHENTICATED, CONTINUE, MALFORMED
from .scope import request_of


def plain_request(request: Request | Websocket) -> PlainRequest:
    """The request as it was sent, as `request_of`."""
    return request_of(request.scope)


def note_authentication(request: Request | Websocket) -> None:
    """Tell the server if the request has shown a good token or signature: its connection counts as authenticated."""
    scope: Any = request.scope
    authenticated = scope.get("extensions", {}).get(AUTHENTICATED)
    if authenticated and plain_request(request).authenticated:
        authenticated()


class _InvitedBody(TrioBody):
    """A request body that invites the client to send it (``100 Continue``) when the app begins to read.

    If it ends in malformed bytes, `error` is raised behind what came before.
    """

    invite: Callable[[], Awaitable[None]] | None = None
    error: HookbotError | None = None

    def __await__(self) -> Generator[Any, None, Any]:
        yield from self._begin().__await__()
        data = yield from super().__await__()
        if self.error:
            raise self.error
        return data

    async def __anext__(self) -> bytes:
        await self._begin()
        try:
            return await super().__anext__()
        except StopAsyncIteration:
            if self.error:
                raise self.error from None
            raise

    def fail(self, error: HookbotError) -> None:
        """End the body, with an error for who reads it."""
        self.error = error
        self.set_complete()

    async def _begin(self) -> None:
        invite, self.invite = self.invite, None
        # A body that is too large by its declared length is refused (`_must_raise`), not invited.
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

    async def handle_messages(self, nursery: trio.Nursery, request: Request, receive: Any) -> None:  # type: ignore[override]
        """Pass events to the request until the client leaves."""

        async def receive_others() -> Any:
            while (event := await receive())["type"] == MALFORMED:
                request.body.fail(event["error"])  # type: ignore[attr-defined]
            return event

        await super().handle_messages(nursery, request, receive_others)


class _WebsocketConnection(TrioASGIWebsocketConnection):
    """A websocket connection that the app finds as the websocket's attribute `connection`, and its `asgi_send`."""

    def __init__(self, app: QuartTrio, scope: Any) -> None:
        super().__init__(app, scope)
        # The server has a queue; in another one, the messages of many clients would only take memory.
        self.send_channel, self.receive_channel = trio.open_memory_channel(0)

    def _create_websocket_from_scope(self, send: Any) -> Websocket:
        websocket = super()._create_websocket_from_scope(send)
        websocket.connection = self  # type: ignore[attr-defined]
        websocket.asgi_send = send  # type: ignore[attr-defined]
        return websocket

    async def handle_messages(self, nursery: trio.Nursery, receive: Any) -> None:  # type: ignore[override]
        """Pass messages to the app until the client leaves. Quart-Trio would pass None for an empty binary one."""
        while (event := await receive())["type"] != "websocket.disconnect":
            if event["type"] == "websocket.receive":
                text, data = event.get("text"), event.get("bytes")
                await self.send_channel.send(data if text is None else text)
        nursery.cancel_scope.cancel()


class HookbotApp(QuartTrio):
    """A Quart-Trio app for untrusted clients. `hookbot.web.asgi.Server` serves it; so can any ASGI server on Trio."""

    asgi_http_class = _HTTPConnection
    asgi_websocket_class = _WebsocketConnection
    request_class = _Request

    def __init__(self, name: str, *, max_body_bytes: int) -> None:
        super().__init__(name, static_folder=None)
        self.config["MAX_CONTENT_LENGTH"] = max_body_bytes
        # The server has deadlines for bodies, also where no handler reads them.
        self.config["BODY_TIMEOUT"] = None
        # Quart would end a streaming response after a minute.
        self.config["RESPONSE_TIMEOUT"] = None
        # Quart would redirect ``/pub//a``, which is not a topic, to ``/pub/a``.
        self.url_map.merge_slashes = False
        self.url_map.strict_slashes = False

    def create_url_adapter(self, request: Any) -> Any:
        """Route by path alone: an untrusted ``Host`` may not be a host at all, and werkzeug would fail on it."""
        if request is None:
            return super().create_url_adapter(request)
        return self.url_map.bind("hub", request.root_path, None, request.scheme, request.method, request.path)

    def add_background_task(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> NoReturn:
        """Raise `RuntimeError`: a background task of the app could crash while requests are still answered."""
        raise RuntimeError("the hub's tasks live in its own nursery, outside the app")

    async def handle_websocket(self, websocket: Websocket) -> Any:
        """Run a handler; if it fails after the handshake, close with the error's code, where Quart would send 1000."""
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
