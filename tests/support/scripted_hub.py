"""A hub that follows a script, so that it can misbehave precisely: real sockets, a script for each connection."""

import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import trio
from trio_websocket import ConnectionClosed, WebSocketRequest, wrap_server_stream

from hookbot import backoff
from hookbot.client.listener import Messages
from hookbot.protocol.envelope import encode_json, to_envelope
from hookbot.protocol.message import Message, format_id
from support import GUARD_S


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

    async def accept(self, subprotocol: str | None = "hookbot.v1") -> None:
        self.websocket = await self.request.accept(subprotocol=subprotocol)

    async def hello(self, last: int = 0) -> None:
        await self.accept()
        await self.send("hello", hub="hookbot/test", topic="t", last_id=mid(last))

    async def send(self, type: str, **fields: Any) -> None:
        await self.websocket.send_message(encode_json({"type": type, **fields}))

    async def messages(self, *numbers: Any, body: bytes = b"", **fields: Any) -> None:
        for n in numbers:
            await self.send("message", **to_envelope(Message("t", body, id=mid(n), time_us=n, **fields)))

    async def receive(self) -> dict[str, Any]:
        return json.loads(await self.websocket.get_message())

    async def close(self, code: int = 1000, reason: str | None = None) -> None:
        await self.websocket.aclose(code, reason)

    async def cut(self) -> None:
        await trio.aclose_forcefully(self.websocket._stream)

    async def stay(self) -> None:
        """Until the listener leaves; what it sends is not looked at."""
        while True:
            await self.websocket.get_message()


class ScriptedHub:
    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"ws://127.0.0.1:{port}/sub/t"
        self.pub = f"http://127.0.0.1:{port}/pub/t"
        self.peers = []  # everyone who came, in order


@asynccontextmanager
async def scripted_hub(*scripts: Any, ssl_context: ssl.SSLContext | None = None) -> AsyncIterator[ScriptedHub]:
    """Serve each connection by the next script; the last one serves all that follow. Clients come back at once.

    A script takes a `Peer`, or with `on_bytes` the bare stream.
    """
    waiting = list(scripts)

    async def serve(stream: trio.SocketStream) -> None:
        script = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        if ssl_context:
            stream = trio.SSLStream(stream, ssl_context, server_side=True, https_compatible=True)
        async with trio.open_nursery() as nursery:
            with suppress(ConnectionClosed, trio.BrokenResourceError, trio.ClosedResourceError):
                if getattr(script, "on_bytes", False):
                    hub.peers.append(stream)
                    await script(stream)
                else:
                    peer = Peer(await wrap_server_stream(nursery, stream))
                    hub.peers.append(peer)
                    await script(peer)
            await trio.aclose_forcefully(stream)
            nursery.cancel_scope.cancel()

    with trio.fail_after(GUARD_S), pytest.MonkeyPatch.context() as patch:
        patch.setattr(backoff, "SHORTEST_S", 0.01)
        patch.setattr(backoff, "LONGEST_S", 0.02)
        async with trio.open_nursery() as nursery:
            [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
            hub = ScriptedHub(listener.socket.getsockname()[1])
            nursery.start_soon(trio.serve_listeners, serve, [listener])
            yield hub
            nursery.cancel_scope.cancel()


def on_bytes(script: Callable[..., Any]) -> Callable[..., Any]:
    script.on_bytes = True
    return script


async def read_head(stream: Any) -> bytes:
    """Request line and headers of an HTTP request."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = await stream.receive_some()
        if not more:
            raise trio.BrokenResourceError
        data += more
    return data


def answering(status: int, body: bytes = b"", *headers: str) -> Callable[..., Any]:
    """A script that answers any request with one HTTP response."""

    @on_bytes
    async def script(stream: Any) -> None:
        await read_head(stream)
        lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}", "Connection: close", *headers]
        await stream.send_all("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    return script


async def taken(messages: Messages, count: int) -> list[int]:
    """The numbers of the next messages."""
    return [int((await anext(messages)).id[-3:]) for _ in range(count)]


def sending(*numbers: Any, last: int = 0, **fields: Any) -> Callable[..., Any]:
    """A hub that sends some messages, and then nothing."""

    async def script(peer: Peer) -> None:
        await peer.hello(last)
        await peer.messages(*numbers, **fields)
        await peer.stay()

    return script


def sending_then_cut(*numbers: Any, last: int = 0) -> Callable[..., Any]:
    async def script(peer: Peer) -> None:
        await peer.hello(last)
        await peer.messages(*numbers)
        await peer.cut()

    return script
