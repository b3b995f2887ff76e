"""Hypercorn's websocket stream, hardened: close codes, no extensions, and limits that end the connection."""

import logging
from typing import Any

import trio
from hypercorn.protocol.events import Data, Event, Request, StreamClosed
from hypercorn.protocol.ws_stream import ASGIWebsocketState, FrameTooLargeError, WSStream
from hypercorn.typing import WebsocketAcceptEvent
from wsproto.connection import ConnectionState
from wsproto.events import CloseConnection, Message, Ping
from wsproto.events import Event as Received

from ...access.rate_limits import Bucket
from ...protocol.replies import MAX_REPLY_FRAME, asks_reply
from ...protocol.websocket import BINARY, GOING_AWAY, TEXT, TOO_BIG, frame_header
from ..limits import NOISE, TOO_NOISY
from .config import ServingConfig
from .extensions import MESSAGE

logger = logging.getLogger(__package__)


class WebSocketStream(WSStream):
    """A websocket over HTTP/1.1.

    Relies on `handshake` and `connection` being as Hypercorn's `_accept` leaves them, on `closed` being set after an
    error response, and on `StreamClosed` ending the connection.
    """

    config: ServingConfig

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._noise = Bucket(NOISE)
        # Held until a frame is whole, so that none gets into another.
        self._sending = trio.Lock()

    async def app_send(self, message: Any) -> None:
        """Handle a message of the app. One of type `MESSAGE` is not copied, as Hypercorn and wsproto do six times."""
        if message is None or message["type"] != MESSAGE:
            await super().app_send(message)
            return
        opcode, data = TEXT if message["text"] else BINARY, message["data"]
        async with self._sending:
            if self.state is ASGIWebsocketState.CONNECTED and self.connection.state is ConnectionState.OPEN:
                await self.send(Data(self.stream_id, frame_header(opcode, len(data))))
                await self.send(Data(self.stream_id, data))

    async def _send_wsproto_event(self, event: Received) -> None:
        async with self._sending:
            await super()._send_wsproto_event(event)

    async def go_away(self) -> None:
        """Close with 1001, which Hypercorn omits, and wait for the client, whose last messages reach the app.

        If the handshake is not answered yet, `_accept` closes afterwards.
        """
        if self.state is ASGIWebsocketState.CONNECTED:
            await self._send_wsproto_event(CloseConnection(code=GOING_AWAY))
            await trio.sleep(self.config.limits.linger_s)
            await self.send(StreamClosed(self.stream_id))

    async def handle(self, event: Event) -> None:
        """Handle an event. If Hypercorn refuses the handshake, end the connection, which it would leave open."""
        await super().handle(event)
        if self.closed and isinstance(event, Request):
            await self.send(StreamClosed(self.stream_id))

    async def _accept(self, message: WebsocketAcceptEvent) -> None:
        """Accept a handshake with the app's subprotocol, without extensions: permessage-deflate costs 206 kB each."""
        self.handshake.extensions = None
        # The app has accepted it, so it is that of a listener that replies.
        if asks_reply(self.scope["query_string"].decode("latin-1")):
            self.buffer.max_length = MAX_REPLY_FRAME
        if chosen := message.get("subprotocol"):
            self.handshake.subprotocols = [chosen]
        await super()._accept(message)
        if self.context.terminated.is_set():
            self.task_group.spawn(self.go_away)

    async def _send_pings(self) -> None:
        """Send pings, the first after the interval. Hypercorn sends it at once, before the first message."""
        await self.context.sleep(self.config.limits.ping_s)
        await super()._send_pings()

    async def _handle_events(self) -> None:
        """Handle received frames.

        Malformed ones get a close code, where Hypercorn only closes the socket; too large a message ends the
        connection, where Hypercorn goes on buffering it; so do frames that the app never sees, beyond `NOISE`.
        """
        for event in self.connection.events():
            await trio.lowlevel.checkpoint()
            if isinstance(event, CloseConnection):
                await self._send_wsproto_event(event.response())
                await self.send(StreamClosed(self.stream_id))
                return
            # Frames behind one that has ended the connection are ignored.
            if self.closed:
                return
            if _is_noise(event) and self._noise.use(now_s=trio.current_time()):
                logger.warning("a subscriber is closed with 1008: %s", TOO_NOISY)
                await self._close(TOO_NOISY.code, str(TOO_NOISY))
            elif isinstance(event, Ping):
                await self._send_wsproto_event(event.response())
            elif isinstance(event, Message):
                await self._collect(event)

    async def _collect(self, event: Message[Any]) -> None:
        # Hypercorn counts characters, and the limit is in bytes.
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

    async def _close(self, code: int, reason: str | None = None) -> None:
        await self._send_wsproto_event(CloseConnection(code=code, reason=reason))
        await self.send(StreamClosed(self.stream_id))


def _is_noise(event: Received) -> bool:
    """True for a whole frame that ends no message; the app judges those that do."""
    return not isinstance(event, Message) or (event.frame_finished and not event.message_finished)
