"""A TCP proxy between a client and its hub that cuts connections, and loses what the client sent last."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

import trio

from support.scripted_hub import read_head


class CuttingProxy:
    """Cuts each connection as soon as the client has sent a random number of bytes; after `cuts`, none any more.

    The first is cut by the first byte, however few the client sends. What the hub sends always arrives, the bytes
    beyond that number do not.
    """

    def __init__(self, hub_port: int, *, cuts: int, seed: str) -> None:
        self.has_cut = trio.Event()
        self._cuts_left = cuts
        self.port = 0
        self._hub_port = hub_port
        self._random = Random(seed)

    def url(self, url: str) -> str:
        """URL of the hub, by way of the proxy."""
        return url.replace(f":{self._hub_port}/", f":{self.port}/")

    async def serve(self, client: trio.SocketStream) -> None:
        """Serve one connection."""
        hub = await trio.open_tcp_stream("127.0.0.1", self._hub_port)
        async with client, hub, trio.open_nursery() as nursery:
            nursery.start_soon(self._pass_answers, hub, client, nursery.cancel_scope)
            try:
                await hub.send_all(await read_head(client))
                await self._pass_bytes(client, hub)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass
            nursery.cancel_scope.cancel()

    async def _pass_bytes(self, client: trio.SocketStream, hub: trio.SocketStream) -> None:
        allowed = self._random.choice([0, 0, 40, 200, 1000]) if self.has_cut.is_set() else 0
        async for data in client:
            if self._cuts_left and len(data) > allowed:
                self._cuts_left -= 1
                self.has_cut.set()
                await hub.send_all(data[:allowed])
                return
            await hub.send_all(data)
            allowed -= len(data)

    async def _pass_answers(
        self, hub: trio.SocketStream, client: trio.SocketStream, connection: trio.CancelScope
    ) -> None:
        try:
            async for data in hub:
                await client.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        connection.cancel()


@asynccontextmanager
async def cutting_proxy(hub_port: int, *, cuts: int, seed: str) -> AsyncIterator[CuttingProxy]:
    """A proxy before a hub, until the end of the block."""
    async with trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        proxy = CuttingProxy(hub_port, cuts=cuts, seed=seed)
        proxy.port = listener.socket.getsockname()[1]
        nursery.start_soon(trio.serve_listeners, proxy.serve, [listener])
        yield proxy
        nursery.cancel_scope.cancel()
