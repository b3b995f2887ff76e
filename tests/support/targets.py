"""An HTTP server that deliveries are forwarded to: it keeps the requests, answers as scripted, and can be down."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import h11
import trio

from support import GUARD_S
from support.ports import free_ports


class Request:
    """A request that arrived at a target."""

    def __init__(self, request: h11.Request, body: bytes) -> None:
        self.method = request.method
        self.target = request.target
        self.headers = [
            (name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.raw_items()
        ]
        self.body = body

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]


class Target:
    """An HTTP server that keeps what it gets. `answers` are the statuses of the first answers; then it is 204.

    A number in `answers` may stand with headers: ``(503, ("Retry-After", "1"))``; None is a 204 after `go`.
    """

    def __init__(self, *answers: Any) -> None:
        self.requests: list[Request] = []
        self.answers = list(answers)
        [self.port] = free_ports(1)
        self._arrived = trio.Event()
        self._nursery: trio.Nursery | None = None
        self._go = trio.Event()

    def go(self) -> None:
        self._go.set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    async def arrived(self, count: int) -> list[bytes]:
        """The bodies of the first requests, when so many have come."""
        while len(self.requests) < count:
            await self._arrived.wait()
        return [request.body for request in self.requests]

    async def up(self, nursery: trio.Nursery) -> None:
        """Listen, always at the same port."""
        self._nursery = await nursery.start(self._serve)

    def down(self) -> None:
        """Refuse connections, and cut those that there are."""
        assert self._nursery, "the target is not up"
        self._nursery.cancel_scope.cancel()

    async def _serve(self, task_status: trio.TaskStatus[trio.Nursery]) -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(trio.serve_tcp, self.serve, self.port, host="127.0.0.1"))
            task_status.started(nursery)
            await trio.sleep_forever()

    async def serve(self, stream: trio.abc.Stream) -> None:
        """Serve one connection."""
        connection = h11.Connection(h11.SERVER)
        request: h11.Request | None = None
        body = bytearray()
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                try:
                    connection.receive_data(bytes(await stream.receive_some()))
                except trio.BrokenResourceError:
                    return
            elif isinstance(event, h11.Request):
                request, body = event, bytearray()
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                assert request
                self._keep(Request(request, bytes(body)))
                if not await self._answer(stream, connection):
                    return
                connection.start_next_cycle()
            else:
                return

    def _keep(self, request: Request) -> None:
        self.requests.append(request)
        self._arrived.set()
        self._arrived = trio.Event()

    async def _answer(self, stream: trio.abc.Stream, connection: h11.Connection) -> bool:
        status = self.answers.pop(0) if self.answers else 204
        if status is None:
            await self._go.wait()
            status = 204
        status, *headers = status if isinstance(status, tuple) else (status,)
        body = b"" if status == 204 else b"because"
        fields = [("Content-Length", str(len(body)))] if body else []
        await stream.send_all(connection.send(h11.Response(status_code=status, headers=[*fields, *headers])))
        await stream.send_all(connection.send(h11.Data(body)) + connection.send(h11.EndOfMessage()))
        return connection.our_state is not h11.MUST_CLOSE


@asynccontextmanager
async def target(*answers: Any) -> AsyncIterator[Target]:
    """A target that is up."""
    with trio.fail_after(GUARD_S):
        async with trio.open_nursery() as nursery:
            made = Target(*answers)
            await made.up(nursery)
            yield made
            nursery.cancel_scope.cancel()
