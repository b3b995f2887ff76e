"""A hub with Quart-Trio, on Hypercorn: ``python -m benchmarks.servers.quart_trio PORT``."""

import math
import sys

import hypercorn.trio
import trio
from quart import abort, request, websocket
from quart_trio import QuartTrio

from benchmarks.servers.signature import is_signed


def make_app() -> QuartTrio:
    """Hub with a queue for each subscriber."""
    app = QuartTrio(__name__)
    subscribers: set[trio.MemorySendChannel[str | bytes]] = set()

    @app.post("/pub/<path:topic>")
    async def publish(topic: str) -> str:
        broadcast(await request.get_data(as_text=False))
        return "OK\n"

    @app.post("/unsafe/pub/<path:topic>")
    async def receive(topic: str) -> str:
        body = await request.get_data(as_text=False)
        assert isinstance(body, bytes)
        if not is_signed(body, request.headers.get("X-Hub-Signature-256", "")):
            abort(401)
        broadcast(body)
        return "OK\n"

    def broadcast(body: str | bytes) -> None:
        for subscriber in subscribers:
            subscriber.send_nowait(body)

    @app.websocket("/sub/<path:topic>")
    async def subscribe(topic: str) -> None:
        messages, queue = trio.open_memory_channel[str | bytes](math.inf)
        subscribers.add(messages)
        try:
            await websocket.accept()
            async for body in queue:
                await websocket.send(body)
        finally:
            subscribers.discard(messages)

    return app


def main(port: str, certificate: str | None = None, key: str | None = None) -> None:
    """Serve until killed."""
    config = hypercorn.Config()
    config.bind = [f"127.0.0.1:{port}"]
    config.backlog = 8192
    config.keep_alive_max_requests = sys.maxsize
    config.certfile, config.keyfile = certificate, key
    trio.run(hypercorn.trio.serve, make_app(), config)


if __name__ == "__main__":
    main(*sys.argv[1:])
