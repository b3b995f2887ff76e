"""Hypercorn's websocket stream, mended."""

from typing import Any

import trio
from hypercorn.protocol.events import Event, Request, StreamClosed
from hypercorn.protocol.ws_stream import ASGIWebsocketState, FrameTooLargeError, WSStream
from hypercorn.typing import WebsocketAcceptEvent
from wsproto.connection import ConnectionState
from wsproto.events import CloseConnection, Message, Ping

from ...protocol.websocket import GOING_AWAY, TOO_BIG
from .config import ServingConfig


class WebSocketStream(WSStream):
    """One websocket.

    Relies on `handshake` and `connection` being as Hypercorn's `_accept` leaves them, on `closed` being set where it
    has answered by an error, and on `StreamClosed` ending the connection.
    """

    config: ServingConfig

    async def go_away(self) -> None:
        """Say 1001 and end (trap 8: Hypercorn ends without a word); a handshake is answered first."""
        if self.state is ASGIWebsocketState.CONNECTED:
            await self._close(GOING_AWAY)

    async def handle(self, event: Event) -> None:
        """As Hypercorn's, and end the connection after a refused handshake, which Hypercorn leaves open (trap 1)."""
        await super().handle(event)
        if self.closed and isinstance(event, Request):
            await self.send(StreamClosed(self.stream_id))

    async def _accept(self, message: WebsocketAcceptEvent) -> None:
        """Without extensions (trap 9: permessage-deflate costs 206 kB and every shared frame), by the app's choice."""
        self.handshake.extensions = None
        if chosen := message.get("subprotocol"):
            self.handshake.subprotocols = [chosen]
        await super()._accept(message)
        if self.context.terminated.is_set():
            await self.go_away()

    async def _handle_events(self) -> None:
        """As Hypercorn's, with a close code for what is malformed (trap 8) and an end for what is too big (trap 4)."""
        for event in self.connection.events():
            await trio.lowlevel.checkpoint()
            if isinstance(event, CloseConnection):
                await self._send_wsproto_event(event.response())
                await self.send(StreamClosed(self.stream_id))
                return
            if self.connection.state is not ConnectionState.OPEN:
                continue  # after our goodbye nothing is kept
            if isinstance(event, Ping):
                await self._send_wsproto_event(event.response())
            elif isinstance(event, Message):
                await self._collect(event)

    async def _collect(self, event: Message[Any]) -> None:
        if isinstance(event.data, str):
            self.buffer.length += len(event.data.encode()) - len(event.data)
        try:
            self.buffer.extend(event)
        except FrameTooLargeError:
            await self._close(TOO_BIG)
            return
        if event.message_finished:
            assert self.app_put is not None
            await self.app_put(self.buffer.to_message())
            self.buffer.clear()

    async def _close(self, code: int) -> None:
        await self._send_wsproto_event(CloseConnection(code=code))
        await self.send(StreamClosed(self.stream_id))
