"""Sessions: one subscription over as many connections as needed, and the events of these connections.

A session reads little ahead, about 64 KiB of small messages or a few large ones: the hub waits for a slow listener, and
rereads its log.
"""

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

import trio

from ..errors import HookbotError, Lost
from ..protocol.frames import ErrorFrame, Frame, Heartbeat, Hello, parse_frame, parse_raw
from ..protocol.message import Gap, Message, wall_clock_us
from ..protocol.replies import REPLY, Reply
from .address import subscription_of
from .errors import PASSING, OnlyRaw, retry_after
from .progress import Progress
from .replies import Replies
from .websocket import Endpoint, HubConnection, open_connection

# Acknowledgements within this time share a frame, for five times the throughput.
ACK_PAUSE_S = 0.01
# Values of max_unacked so small that the hub waits for each acknowledgement: these are not delayed.
_FEW = frozenset("123456789")

_NEEDS_V1 = {REPLY: "replies", "cursor": "a cursor", "group": "a group", "follow": "ending after the stored messages"}

logger = logging.getLogger(__package__)


@dataclass(frozen=True, slots=True)
class Connected:
    """The subscription is active. `hub` is the hub's name and version.

    For a hub older than 1.0, which cannot resume, `hub` is "" and `resumable` is False.
    """

    address: str
    hub: str
    resumable: bool = True

    def __str__(self) -> str:
        if self.resumable:
            return f"listening to {self.address} ({self.hub})"
        return (
            f"listening to {self.address}, which speaks only raw frames: "
            "it cannot resume, so messages published while disconnected are lost"
        )


@dataclass(frozen=True, slots=True)
class Waiting:
    """Connected, but the subscription has not begun, usually because another listener has the `cursor`."""

    address: str
    cursor: str | None

    def __str__(self) -> str:
        cause = f"another listener to release the cursor {self.cursor!r}" if self.cursor else "the hub to begin"
        return f"connected to {self.address}, waiting for {cause}"


@dataclass(frozen=True, slots=True)
class Disconnected:
    """There is no connection; `why` is the reason, and the next attempt follows in `retry_in_s` seconds."""

    address: str
    why: str
    retry_in_s: float

    def __str__(self) -> str:
        return f"not listening to {self.address}: {self.why}; trying again in {self.retry_in_s:.1f} s"


Event = Connected | Waiting | Disconnected


class Session:
    """A subscription that is kept active: it reconnects when a connection breaks, and resumes from its progress.

    `items` delivers messages, gaps and heartbeats one by one. When it ends, `failure` is the error that ended the
    subscription, or None if it ended normally.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        query: Mapping[str, str],
        progress: Progress,
        on_event: Callable[[Event], object] | None,
    ) -> None:
        # Set when the subscription is active for the first time, or has failed before.
        self.subscribed = trio.Event()
        self.failure: HookbotError | None = None
        # Without a buffer, so that a slow listener stops the reading, and with it the hub.
        self._put, self.items = trio.open_memory_channel[Message | Gap | Heartbeat](0)
        self._endpoint = endpoint
        self._wanted = subscription_of(endpoint.address)
        self._query = query
        self._progress = progress
        self._on_event = on_event
        self._backoff = endpoint.timing.backoff()
        self._connection: HubConnection | None = None
        self._connected_at = 0.0
        self._closing = False
        self._sending = trio.lowlevel.ParkingLot()
        self._replies = Replies() if REPLY in query else None
        self._ack_pause_s = 0 if query.get("max_unacked") in _FEW else ACK_PAUSE_S

    def ack(self, id: str) -> None:
        """Acknowledge a message; the acknowledgement is sent soon."""
        self._progress.done(id)
        self._sending.unpark()

    @property
    def replies(self) -> Replies:
        """Replies of the listener. Raises `ValueError` if the subscription gives none."""
        if self._replies is None:
            raise ValueError("this subscription gives no replies; listen with reply=True")
        return self._replies

    def reply(self, message: Message, reply: Reply) -> None:
        """Reply to a message; the reply is sent soon. Raises `ValueError` if the subscription gives none."""
        self.replies.give(message, reply)
        self._sending.unpark()

    def accept(self, item: Message | Gap | Heartbeat) -> bool:
        """Record an item of `items`, and return True if the listener should receive it."""
        is_wanted = self._progress.accept(item)
        if not is_wanted:
            # It may have been acknowledged again.
            self._sending.unpark()
        return is_wanted

    async def run(self) -> None:
        """Listen until the subscription ends or fails for good; the error is then in `failure`."""
        while not self._closing:
            try:
                await self._listen_once()
                break
            except PASSING as problem:
                delay_s = self._note_loss(problem)
            except HookbotError as problem:
                self.failure = problem
                break
            await trio.sleep(delay_s)
        self._put.close()
        self.subscribed.set()

    async def close(self) -> None:
        """Stop reconnecting; if connected, send the last acknowledgements and perform the closing handshake.

        If cancelled, both may be incomplete.
        """
        self._closing = True
        if self._connection is not None:
            with suppress(HookbotError):
                while text := self._next_reply() or self._progress.take_ack():
                    await self._connection.send(text)
                await self._connection.close()

    async def _listen_once(self) -> None:
        """Listen over one connection, and return at the end of a subscription with ``follow=0``.

        Raises `Lost`, or the hub's refusal.
        """
        since = self._progress.since
        query = {**self._query, "since": since} if since else self._query
        async with open_connection(self._endpoint, query) as connection, trio.open_nursery() as nursery:
            await self._begin(connection, nursery)
            while (data := await connection.receive()) is not None:
                await self._take(connection, data)
            # Only a subscription with follow=0 has an end; any other close is a reason to reconnect.
            if query.get("follow") != "0":
                raise Lost("the hub closed the connection")
            nursery.cancel_scope.cancel()

    async def _begin(self, connection: HubConnection, nursery: trio.Nursery) -> None:
        if connection.raw:
            self._check_raw_will_do()
            self._note_subscription(connection, Connected(str(self._endpoint.address), "", resumable=False))
            return
        with trio.move_on_after(self._endpoint.timing.hello_s) as waiting:
            data = await connection.receive()
        if waiting.cancelled_caught:
            self._tell(logging.WARNING, Waiting(str(self._endpoint.address), self._query.get("cursor")))
            data = await connection.receive()
        hello = _parse(data)
        if not isinstance(hello, Hello):
            raise Lost("the hub did not begin with a hello frame")
        self._progress.subscribed(hello)
        if self._replies:
            self._replies.subscribed(hello)
        self._note_subscription(connection, Connected(str(self._endpoint.address), hello.hub))
        nursery.start_soon(self._send, connection)

    async def _take(self, connection: HubConnection, data: str | bytes) -> None:
        if connection.raw:
            await self._put.send(parse_raw(data, self._wanted, time_us=wall_clock_us()))
            return
        match _parse(data):
            case Message() | Gap() | Heartbeat() as item:
                await self._put.send(item)
            case ErrorFrame(title):
                logger.warning("%s reports an error: %s", self._endpoint.address, title)

    async def _send(self, connection: HubConnection) -> None:
        while True:
            while reply := self._next_reply():
                await connection.send(reply)
            if ack := self._progress.take_ack():
                await connection.send(ack)
                await trio.sleep(self._ack_pause_s)
            else:
                await self._sending.park()

    def _next_reply(self) -> str | None:
        """The next reply to send, or None. Replies come before acknowledgements: what is done does not come again."""
        return self._replies.take() if self._replies else None

    def _check_raw_will_do(self) -> None:
        for name, feature in _NEEDS_V1.items():
            if name in self._query:
                raise OnlyRaw(f"{self._endpoint.address} speaks only raw frames, which do not support {feature}")

    def _note_subscription(self, connection: HubConnection, event: Connected) -> None:
        self._connection = connection
        self._connected_at = trio.current_time()
        self._tell(logging.INFO if event.resumable else logging.WARNING, event)
        self.subscribed.set()

    def _note_loss(self, problem: HookbotError) -> float:
        lasted_s = trio.current_time() - self._connected_at if self._connection else 0
        delay_s = self._backoff.next_s(lasted_s=lasted_s, at_least_s=retry_after(problem))
        self._connection = None
        if not self._closing:
            self._tell(logging.WARNING, Disconnected(str(self._endpoint.address), str(problem), delay_s))
        return delay_s

    def _tell(self, level: int, event: Event) -> None:
        logger.log(level, "%s", event)
        if self._on_event is not None:
            self._on_event(event)


def _parse(data: str | bytes | None) -> Frame | None:
    try:
        return None if data is None else parse_frame(data)
    except ValueError as error:
        raise Lost(f"the hub sent an invalid frame: {error}") from None
