"""Inboxes: what a client has sent, for the app of one request."""

from contextlib import suppress
from typing import Any, Self

import trio


class Inbox:
    """Events for the app of one request, which wait until it has received those before.

    A disconnect comes last, but does not wait: an app that never receives would keep the connection open.
    """

    def __init__(self, size: int) -> None:
        self._put, self._received = trio.open_memory_channel[Any](size)
        self._disconnect: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._received.close()

    async def put(self, event: Any) -> None:
        """Queue an event; does nothing after a disconnect, or once the app has returned."""
        if event["type"].endswith(".disconnect"):
            self._disconnect = self._disconnect or event
            self._put.close()
        else:
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await self._put.send(event)

    async def receive(self) -> Any:
        """The next event."""
        try:
            return await self._received.receive()
        except trio.EndOfChannel:
            return self._disconnect
