"""A hub with Starlette, on uvicorn: ``python -m benchmarks.servers.starlette_uvicorn PORT``."""

import asyncio
import sys

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from benchmarks.servers.signature import is_signed


def make_app() -> Starlette:
    """Hub with a queue for each subscriber."""
    subscribers: set[asyncio.Queue[bytes]] = set()

    async def publish(request: Request) -> Response:
        broadcast(await request.body())
        return PlainTextResponse("OK\n")

    async def receive(request: Request) -> Response:
        body = await request.body()
        if not is_signed(body, request.headers.get("X-Hub-Signature-256", "")):
            raise HTTPException(401)
        broadcast(body)
        return PlainTextResponse("OK\n")

    def broadcast(body: bytes) -> None:
        for subscriber in subscribers:
            subscriber.put_nowait(body)

    async def subscribe(websocket: WebSocket) -> None:
        queue: asyncio.Queue[bytes] = asyncio.Queue()
        subscribers.add(queue)
        await websocket.accept()
        sending = asyncio.create_task(send(websocket, queue))
        try:
            while True:
                await websocket.receive_bytes()
        except WebSocketDisconnect:
            sending.cancel()
        finally:
            subscribers.discard(queue)

    return Starlette(
        routes=[
            Route("/pub/{topic:path}", publish, methods=["POST"]),
            Route("/unsafe/pub/{topic:path}", receive, methods=["POST"]),
            WebSocketRoute("/sub/{topic:path}", subscribe),
        ]
    )


async def send(websocket: WebSocket, queue: asyncio.Queue[bytes]) -> None:
    """Send what is put into the queue."""
    while True:
        await websocket.send_bytes(await queue.get())


def main(port: str) -> None:
    """Serve until killed."""
    uvicorn.run(
        make_app(),
        host="127.0.0.1",
        port=int(port),
        loop="uvloop",
        http="httptools",
        backlog=8192,
        access_log=False,
        log_level="warning",
        ws_ping_interval=None,
        ws_per_message_deflate=False,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
