"""The subscribe flow of the app: streaming responses and websockets."""

import json
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from math import inf
from typing import Any

import trio
from quart import websocket

from ..access.admitted import AdmittedSubscription
from ..access.rate_limits import Bucket
from ..access.senders import Standing
from ..broker.consumers import Consumer
from ..broker.starts import Start
from ..errors import (
    Ended,
    HeldElsewhere,
    HistoryLost,
    HookbotError,
    Refused,
    TooManyRequests,
    Unauthorized,
    Unavailable,
    as_refusal,
)
from ..protocol.frames import HookbotV1, framing_for, hello
from ..protocol.message import format_id, format_time
from ..protocol.replies import parse_reply
from ..protocol.subscribe import SubscribeRequest
from ..protocol.websocket import NORMAL, POLICY_VIOLATION, TRY_AGAIN_LATER
from .asgi import abort_of, pieces, plain_request, send_message
from .held_bytes import Abort
from .limits import NOISE, TOO_NOISY
from .relay import is_relayed, relay
from .services import Services
from .streams import Stream

# Beyond the acknowledgement of the 64 messages that a member of a group is given at a time.
LONG_MESSAGE = 2 << 10

# For acknowledgements that a client has sent before it saw our close frame, which it answers: some round trips.
CLOSE_S = 1.0

logger = logging.getLogger(__package__)


async def stream_body(
    services: Services, admitted: AdmittedSubscription, start: Start, abort: Abort
) -> AsyncIterator[bytes]:
    """The body of a streaming response. It has no close code: on an error it just ends."""
    with (
        suppress(Ended, TooManyRequests, Unauthorized, Unavailable),
        services.streams.open(admitted, start, abort) as stream,
    ):
        async for frames in stream:
            for piece in pieces(b"".join(frames)):
                yield piece
            # Not kept while the next ones are waited for: it may be 50 MB.
            del frames


async def serve_websocket(services: Services, admitted: AdmittedSubscription) -> None:
    """Accept a websocket and send to it until the stream ends or the client leaves; the close code has the reason.

    Raises `HookbotError` and `Answered` only before the handshake is answered, so that the client gets an HTTP status.
    """
    request = admitted.request
    acknowledged = bool(request.cursor or request.group)
    if acknowledged:
        if await _relay(services, admitted):
            return
        services.consumers.check_request(request)
    start = Start(0) if acknowledged else await services.find_start(admitted)
    await websocket.accept(subprotocol=request.subprotocol)
    try:
        await (_serve_consumer(services, admitted) if acknowledged else _serve_stream(services, admitted, start))
    # What was checked before the handshake may be refused after it: another client was faster, or a token was revoked.
    except (Ended, Refused, Unavailable) as error:
        await websocket.close(_close_code(error), str(error))


async def _relay(services: Services, admitted: AdmittedSubscription) -> bool:
    """Relay the websocket if another hub serves the cursor or the group; False if that is for this hub to do.

    A takeover of a cursor is for the hub that serves it, so that the other client is told. This hub takes it over only
    if that one cannot be reached.
    """
    try:
        try:
            await services.consumers.locate(admitted.request)
        except HeldElsewhere as held:
            await relay(services, admitted, held)
            return True
    except Unavailable:
        if not admitted.request.takeover or is_relayed(plain_request(websocket)):
            raise
        await services.consumers.locate(admitted.request, takeover=True)
    return False


async def _serve_stream(services: Services, admitted: AdmittedSubscription, start: Start) -> None:
    request = admitted.request
    last_id = format_id(services.broker.log.epoch, start.position)
    first = hello(request, last_id, **_waiting(services, request)) if request.format == "v1" else None
    with services.streams.open(admitted, start, abort_of(websocket)) as stream:
        await _converse(_Client(services, admitted, stream), first, text=framing_for(request).text)


async def _serve_consumer(services: Services, admitted: AdmittedSubscription) -> None:
    request = admitted.request
    async with services.consumers.open(request) as consumer:
        first = hello(request, consumer.hello["position"], **consumer.hello, **_waiting(services, request))
        with services.streams.open_from(consumer, admitted, abort_of(websocket)) as stream:
            await _converse(_Client(services, admitted, stream, consumer), first, text=True)


def _waiting(services: Services, request: SubscribeRequest) -> Mapping[str, str | float]:
    """Fields by which a client knows whether the sender of a message still waits for its reply."""
    if not request.reply:
        return {}
    return {"time": format_time(services.broker.clock()), "reply_timeout_s": services.access.replies.wait_s}


async def _converse(client: "_Client", first: bytes | None, *, text: bool) -> None:
    """Send and receive at the same time until the stream ends, then close, with the reason in the close code.

    The `first` frame is sent once the client counts as listening, so that it can rely on that. What it sends is
    received until it has answered the close frame.
    """
    async with trio.open_nursery() as nursery:
        with client.listening():
            nursery.start_soon(client.receive)
            code, reason = NORMAL, ""
            if first:
                await _send(first, text=True)
            try:
                async for frames in client.stream:
                    for frame in frames:
                        await _send(frame, text=text)
                    # Not kept while the next ones are waited for, nor by the traceback of what ends that.
                    del frames, frame
            except HookbotError as error:
                code, reason = _close_code(error), str(error)
        await websocket.close(code, reason)
        if client.has_its_say and code != POLICY_VIOLATION:
            await trio.sleep(CLOSE_S)
        nursery.cancel_scope.cancel()


def _close_code(error: HookbotError) -> int:
    match error:
        case Ended():
            return error.code
        case HistoryLost() | TooManyRequests() | Unavailable():
            return TRY_AGAIN_LATER
        case _:
            return POLICY_VIOLATION


class _Client:
    """The client of a websocket, as far as it has a say: it may acknowledge, and reply."""

    def __init__(
        self, services: Services, admitted: AdmittedSubscription, stream: Stream, consumer: Consumer | None = None
    ) -> None:
        self.stream = stream
        self._admitted = admitted
        self._replies = services.replies if admitted.request.reply else None
        self._consumer = consumer

    @property
    def has_its_say(self) -> bool:
        """True if what it sends may be more than noise."""
        return bool(self._consumer or self._replies)

    def listening(self) -> AbstractContextManager[None]:
        """Context in which it replies to what it is sent, if it does so."""
        return self._replies.listening(self._admitted.request.wanted) if self._replies else nullcontext()

    async def receive(self) -> None:
        """Receive acknowledgements and replies, and end the stream at more other messages than `NOISE`.

        Receives also if it has no say: behind a few unread messages, the server no longer sees pings and close frames.
        """
        noise = Bucket(NOISE)
        last_turn_at = -inf
        while True:
            received = await websocket.receive()
            if len(received) > LONG_MESSAGE:
                # Not cancelled when the client leaves meanwhile: the message was received.
                with trio.CancelScope(shield=True):
                    await self.stream.long_messages.wait(Standing.TOKEN, last_turn_at)
                last_turn_at = trio.current_time()
            is_noise = not (self.has_its_say and await self._take(received))
            if is_noise and noise.use(now_s=trio.current_time()):
                logger.warning("a subscriber is closed with 1008: %s", TOO_NOISY)
                self.stream.dismiss(TOO_NOISY)
                return

    async def _take(self, received: str | bytes) -> bool:
        """Do what a message says, and return True; False for what changes nothing, also after answering an error."""
        try:
            return await self._obey(json.loads(received))
        except (ValueError, RecursionError):
            await _send(HookbotV1().error("a message from a client has to be a JSON object"), text=True)
        except (Refused, Unavailable) as error:
            await _send(HookbotV1().error(str(error)), text=True)
        return False

    async def _obey(self, said: Any) -> bool:
        if self._replies and isinstance(said, dict) and said.get("type") == "reply":
            with as_refusal():
                id, reply = parse_reply(said)
            return await self._replies.give(id, reply, self._admitted)
        if self._consumer is None:
            raise Refused("a message from this client has to be a reply")
        self._consumer.ack(said)
        return True


async def _send(frame: bytes, *, text: bool) -> None:
    await send_message(websocket, frame, text=text)
