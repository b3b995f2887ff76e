"""A hub with `broadcast` of the websockets library: ``python -m benchmarks.servers.websockets_broadcast PORT``.

Publishers are websockets, too, as the library serves nothing else; they get no response.
"""

import asyncio
import sys

import uvloop
from websockets.asyncio.server import ServerConnection, broadcast, serve


async def run(port: int) -> None:
    """Serve until killed."""
    subscribers: set[ServerConnection] = set()

    async def handle(connection: ServerConnection) -> None:
        assert connection.request
        if connection.request.path.startswith("/pub/"):
            async for body in connection:
                broadcast(subscribers, body)
        else:
            subscribers.add(connection)
            await connection.wait_closed()
            subscribers.discard(connection)

    async with serve(handle, "127.0.0.1", port, compression=None, ping_interval=None, backlog=8192):
        await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(run(int(sys.argv[1])))
