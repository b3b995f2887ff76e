"""Subscriptions through the app: streaming answers, and every kind of websocket."""

import json
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass

import trio
from quart import websocket

from ..broker.broker import Broker, Start
from ..broker.consumers import Consumer, Consumers
from ..errors import Ended, HistoryLost, HookbotError, Refused, TooManyRequests, Unauthorized, Unavailable
from ..protocol.frames import HookbotV1, framing_for, hello
from ..protocol.subscribe import SubscribeRequest
from ..protocol.websocket import POLICY_VIOLATION, TRY_AGAIN_LATER
from .asgi import discard_incoming
from .streams import Stream, Streams


@dataclass(frozen=True, slots=True)
class Subscriptions:
    """All that subscriptions need."""

    broker: Broker
    sessions: Consumers
    streams: Streams

    async def start(self, request: SubscribeRequest) -> Start:
        """Where the subscription begins."""
        not_before_us = request.grant.since_us
        start = await self.broker.start_at(request.since, request.wanted, not_before_us=not_before_us)
        self.streams.active.check(request.grant)  # others have come meanwhile
        return start

    async def chunks(self, request: SubscribeRequest, start: Start) -> AsyncIterator[bytes]:
        """The body of a streaming answer."""
        with suppress(Ended, TooManyRequests, Unauthorized, Unavailable), self.streams.open(request, start) as stream:
            async for frames in stream:
                yield b"".join(frames)

    async def serve(self, request: SubscribeRequest) -> None:
        """Answer the handshake of a websocket, and send until one side has enough."""
        acknowledged = bool(request.cursor or request.group)
        if acknowledged:
            self.sessions.check(request)
        start = Start(0) if acknowledged else await self.start(request)
        await websocket.accept(subprotocol=request.subprotocol)
        try:
            await (self._serve_session(request) if acknowledged else self._serve_stream(request, start))
        except Ended as error:
            await websocket.close(error.code, str(error))
        except (HistoryLost, TooManyRequests, Unavailable) as error:
            await websocket.close(TRY_AGAIN_LATER, str(error))
        except Refused as error:
            await websocket.close(POLICY_VIOLATION, str(error))

    async def _serve_stream(self, request: SubscribeRequest, start: Start) -> None:
        if request.format == "v1":
            await _send(HookbotV1().hello(hello(request, self.broker.log.epoch, start.position)), text=True)
        with self.streams.open(request, start) as stream:
            await _converse(request, stream, None)

    async def _serve_session(self, request: SubscribeRequest) -> None:
        async with self.sessions.open(request) as session:
            said = {**hello(request, self.broker.log.epoch, 0), "last_id": session.hello["position"]}
            await _send(HookbotV1().hello({**said, **session.hello}), text=True)
            with self.streams.open_from(session, request) as stream:
                await _converse(request, stream, session)


async def _converse(request: SubscribeRequest, stream: Stream, session: Consumer | None) -> None:
    """Send until the stream ends, and read meanwhile; raises what ended it."""
    error: HookbotError | None = None
    async with trio.open_nursery() as nursery:
        if session is None:
            nursery.start_soon(discard_incoming, websocket)
        else:
            nursery.start_soon(_receive, session)
        try:
            async for frames in stream:
                for frame in frames:
                    await _send(frame, text=framing_for(request).text)
        except HookbotError as caught:  # beyond the nursery, it would be in a group
            error = caught
        nursery.cancel_scope.cancel()
    if error:
        raise error


async def _receive(session: Consumer) -> None:
    while True:
        answer = await websocket.receive()
        try:
            session.ack(json.loads(answer))
        except (ValueError, RecursionError):
            await _send(HookbotV1().error("what a client sends is a JSON object"), text=True)
        except Refused as error:
            await _send(HookbotV1().error(str(error)), text=True)


async def _send(frame: bytes, *, text: bool) -> None:
    await websocket.send(frame.decode("ascii") if text else frame)
