"""A hub that follows a script, so that it can misbehave precisely: real sockets, a script for each connection."""

import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias
from urllib.parse import parse_qsl, urlsplit

import trio
import wsproto.events
from trio_websocket import ConnectionClosed, WebSocketRequest, wrap_server_stream

from hookbot import client
from hookbot.backoff import Backoff
from hookbot.client import Messages, Timing
from hookbot.protocol.envelope import encode_json, to_envelope
from hookbot.protocol.message import Message, format_id
from support import GUARD_S

at_once = partial(Backoff, 0.01, 0.02)
AT_ONCE = Timing(backoff=at_once)

listen = partial(client.listen, timing=AT_ONCE)
"""`hookbot.client.listen`, which reconnects at once."""

publish = partial(client.publish, backoff=at_once)
"""`hookbot.client.publish`, which retries at once."""


def mid(n: int) -> str:
    """The id of the n-th message."""
    return format_id("abcdefgh", n)


class Peer:
    """One listener, as a script sees it."""

    def __init__(self, request: WebSocketRequest) -> None:
        self.request = request
        parts = urlsplit(request.path)
        self.path = parts.path
        self.query = dict(parse_qsl(parts.query))
        self.headers = {name.decode(): value.decode("latin-1") for name, value in request.headers}
        self.headers["host"] = request._event.host
        self.subprotocols = request.proposed_subprotocols

    async def accept(self, subprotocol: str | None = "hookbot.v1") -> None:
        self.websocket = await self.request.accept(subprotocol=subprotocol)

    async def hello(self, last: int = 0, **more: Any) -> None:
        await self.accept()
        await self.send("hello", hub="hookbot/test", topic="t", last_id=mid(last), **more)

    async def send(self, type: str, **fields: Any) -> None:
        await self.websocket.send_message(encode_json({"type": type, **fields}))

    async def messages(self, *numbers: int, body: bytes = b"", **fields: Any) -> None:
        for n in numbers:
            await self.send("message", **to_envelope(Message("t", body, id=mid(n), time_us=n, **fields)))

    async def send_raw(self, data: bytes) -> None:
        """Send bytes that need not be a frame."""
        await self.websocket._stream.send_all(data)

    async def receive(self) -> dict[str, Any]:
        """The next frame of the listener, from JSON."""
        received: dict[str, Any] = json.loads(await self.websocket.get_message())
        return received

    async def pinged(self, count: int, *, answering: bool) -> None:
        """Wait for so many pings; pongs are sent only if `answering`."""
        pongs = 0
        reached = trio.Event()
        send = self.websocket._send

        async def count_pong(event: wsproto.events.Event) -> None:
            nonlocal pongs
            pongs += isinstance(event, wsproto.events.Pong)
            if pongs == count:
                reached.set()
            if answering or not isinstance(event, wsproto.events.Pong):
                await send(event)

        self.websocket._send = count_pong  # type: ignore[method-assign]
        try:
            await reached.wait()
        finally:
            self.websocket._send = send  # type: ignore[method-assign]

    @property
    def close_code(self) -> int | None:
        """The code with which the connection was closed; None while it is open."""
        return self.websocket.closed.code if self.websocket.closed else None

    def read_nothing_more(self) -> None:
        """Leave everything that the listener sends from now on unread, also its close frame."""
        self.websocket._stream.receive_some = lambda _=None: trio.sleep_forever()  # type: ignore[method-assign,assignment]

    async def close(self, code: int = 1000, reason: str | None = None) -> None:
        await self.websocket.aclose(code, reason)

    async def cut(self) -> None:
        await trio.aclose_forcefully(self.websocket._stream)

    async def stay(self) -> None:
        """Until the listener leaves; what it sends is not looked at."""
        while True:
            await self.websocket.get_message()


@dataclass(frozen=True)
class BytesScript:
    """A script for a connection that is served as bytes, and not as a websocket."""

    serve: Callable[[trio.abc.Stream], Awaitable[object]]


Script: TypeAlias = Callable[[Peer], Awaitable[object]] | BytesScript


def on_bytes(serve: Callable[[trio.abc.Stream], Awaitable[object]]) -> BytesScript:
    """Make a function of a stream a script."""
    return BytesScript(serve)


class ScriptedHub:
    """A hub that serves each connection by the next script; the last one serves all that follow."""

    def __init__(self, port: int, scripts: Iterable[Script]) -> None:
        self.port = port
        self.url = f"ws://127.0.0.1:{port}/sub/t"
        self.pub = f"http://127.0.0.1:{port}/pub/t"
        self.connections = 0
        self.peers: list[Peer] = []
        """Listeners in the order of their connections, without those that are served as bytes."""
        self._scripts = list(scripts)

    async def serve(self, stream: trio.abc.Stream) -> None:
        """Serve one connection."""
        script = self._scripts[min(self.connections, len(self._scripts) - 1)]
        self.connections += 1
        async with trio.open_nursery() as nursery:
            with suppress(ConnectionClosed, trio.BrokenResourceError, trio.ClosedResourceError):
                if isinstance(script, BytesScript):
                    await script.serve(stream)
                else:
                    peer = Peer(await wrap_server_stream(nursery, stream))
                    self.peers.append(peer)
                    await script(peer)
            await trio.aclose_forcefully(stream)
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def scripted_hub(*scripts: Script, ssl_context: ssl.SSLContext | None = None) -> AsyncIterator[ScriptedHub]:
    """A hub that follows these scripts, until the end of the block."""
    with trio.fail_after(GUARD_S):
        async with trio.open_nursery() as nursery:
            [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
            hub = ScriptedHub(listener.socket.getsockname()[1], scripts)

            async def serve(stream: trio.SocketStream) -> None:
                if ssl_context is None:
                    await hub.serve(stream)
                else:
                    await hub.serve(trio.SSLStream(stream, ssl_context, server_side=True, https_compatible=True))

            nursery.start_soon(trio.serve_listeners, serve, [listener])
            yield hub
            nursery.cancel_scope.cancel()


async def read_head(stream: trio.abc.Stream) -> bytes:
    """Request line and headers of an HTTP request."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = await stream.receive_some()
        if not more:
            raise trio.BrokenResourceError
        data += more
    return data


def response(status: int, body: bytes = b"", *headers: str) -> bytes:
    """The bytes of an HTTP response."""
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def answering(status: int, body: bytes = b"", *headers: str) -> Script:
    """A script that answers any request with one HTTP response."""

    @on_bytes
    async def script(stream: trio.abc.Stream) -> None:
        await read_head(stream)
        await stream.send_all(response(status, body, *headers))

    return script


async def taken(messages: Messages, count: int) -> list[int]:
    """The numbers of the next messages."""
    return [int((await next_message(messages)).id[-3:]) for _ in range(count)]


async def next_message(messages: Messages) -> Message:
    """The next item, which is a message and no gap."""
    item = await anext(messages)
    assert isinstance(item, Message), item
    return item


def sending(*numbers: int, last: int = 0, **fields: Any) -> Script:
    """A hub that sends some messages, and then nothing."""

    async def script(peer: Peer) -> None:
        await peer.hello(last)
        await peer.messages(*numbers, **fields)
        await peer.stay()

    return script


def sending_then_cut(*numbers: int, last: int = 0) -> Script:
    async def script(peer: Peer) -> None:
        await peer.hello(last)
        await peer.messages(*numbers)
        await peer.cut()

    return script
