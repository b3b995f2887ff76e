"""A TCP proxy that stops to pass bytes on, and keeps all connections open, as a network does that has a fault."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import trio

LOST = (trio.BrokenResourceError, trio.ClosedResourceError)


class StallingProxy:
    """Passes bytes on in both directions, unless it is stalled: then they wait, as in a network that sends them again.

    The kernel acknowledges them nevertheless, until its buffers are full, and takes new connections.
    """

    def __init__(self, server_port: int) -> None:
        self.port = 0
        self._server_port = server_port
        self._passing = trio.Event()
        self._passing.set()

    @contextmanager
    def stalled(self) -> Iterator[None]:
        """Pass nothing on until the block ends, not even that a connection was closed."""
        self._passing = trio.Event()
        try:
            yield
        finally:
            self._passing.set()

    async def serve(self, client: trio.SocketStream) -> None:
        """Serve one connection."""
        server = await trio.open_tcp_stream("127.0.0.1", self._server_port)
        async with client, server, trio.open_nursery() as nursery:
            nursery.start_soon(self._pass, client, server)
            nursery.start_soon(self._pass, server, client)

    async def _pass(self, one: trio.SocketStream, other: trio.SocketStream) -> None:
        try:
            async for data in one:
                await self._passing.wait()
                await other.send_all(data)
        except LOST:
            pass
        await self._passing.wait()
        # Both ends, so that the other direction ends as well.
        await other.aclose()
        await one.aclose()


@asynccontextmanager
async def stalling_proxy(server_port: int) -> AsyncIterator[StallingProxy]:
    """A proxy before a server, until the end of the block."""
    async with trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        proxy = StallingProxy(server_port)
        proxy.port = listener.socket.getsockname()[1]
        nursery.start_soon(trio.serve_listeners, proxy.serve, [listener])
        yield proxy
        nursery.cancel_scope.cancel()
