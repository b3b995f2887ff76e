"""The task behind `listen`: keeps a connection to the hub, and hands over one by one what comes.

Nothing waits in between but what fits into the sockets: a slow listener is
waited for by the hub, which goes back to its log for it.
"""

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress

import trio

from ..backoff import Backoff
from ..errors import HookbotError, Lost
from ..protocol.frames import ErrorFrame, Frame, Heartbeat, Hello, parse_frame, parse_raw
from ..protocol.message import Gap, Message, wall_clock_us
from ..protocol.topics import TopicFilter
from .errors import PASSING, OnlyRaw, retry_after
from .events import Connected, Disconnected, Event, Waiting
from .progress import Progress
from .websocket import Endpoint, HubConnection, open_connection

HELLO_S = 5.0  # a hub that takes longer to begin is waiting for something
ACK_PAUSE_S = 0.01  # what is acknowledged meanwhile is told in one frame: five times the throughput
_FEW = frozenset("123456789")  # but a hub that waits for it is told at once

_NEEDS_V1 = {"cursor": "a cursor", "group": "a group", "follow": "to end where history ends"}

logger = logging.getLogger("hookbot.client")


class Session:
    """Keeps a subscription standing. `items` is what comes; when it ends, `failure` says why, unless all is told."""

    def __init__(
        self,
        dial: Endpoint,
        wanted: TopicFilter,
        query: Mapping[str, str],
        progress: Progress,
        on_event: Callable[[Event], object] | None,
    ) -> None:
        self.standing = trio.Event()  # set when the subscription stands for the first time, or never will
        self.failure: HookbotError | None = None
        self._put, self.items = trio.open_memory_channel[Message | Gap | Heartbeat](0)
        self._dial = dial
        self._wanted = wanted
        self._query = query
        self._progress = progress
        self._on_event = on_event
        self._backoff = Backoff()
        self._connection: HubConnection | None = None
        self._connected_at = 0.0
        self._leaving = False
        self._acks_waiting = trio.lowlevel.ParkingLot()
        self._ack_pause_s = 0 if query.get("max_unacked") in _FEW else ACK_PAUSE_S

    def ack(self, id: str) -> None:
        """Note that a message has been dealt with; the hub is told soon."""
        self._progress.done(id)
        self._acks_waiting.unpark()

    async def run(self) -> None:
        """Until there is nothing more to come. Whatever happens ends in `items` and `failure`."""
        while not self._leaving:
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
        self.standing.set()

    async def leave(self) -> None:
        """Tell the hub what it does not know yet, and say goodbye; cancelling cuts that short."""
        self._leaving = True
        if self._connection is not None:
            with suppress(Lost):
                if text := self._progress.take_ack():
                    await self._connection.send(text)
                await self._connection.close()

    async def _listen_once(self) -> None:
        """Returns after the orderly end of a subscription that has one; raises `Lost`, or why the hub refused."""
        since = self._progress.since
        query = {**self._query, "since": since} if since else self._query
        async with open_connection(self._dial, query) as connection, trio.open_nursery() as nursery:
            await self._begin(connection, nursery)
            while (data := await connection.receive()) is not None:
                await self._take(connection, data)
            if query.get("follow") != "0":
                raise Lost("the hub said goodbye")
            nursery.cancel_scope.cancel()

    async def _begin(self, connection: HubConnection, nursery: trio.Nursery) -> None:
        if connection.raw:
            self._check_raw_will_do()
            self._stand(connection, Connected(str(self._dial.address), "", resumable=False))
            return
        with trio.move_on_after(HELLO_S) as waiting:
            data = await connection.receive()
        if waiting.cancelled_caught:
            self._tell(logging.WARNING, Waiting(str(self._dial.address), self._query.get("cursor")))
            data = await connection.receive()
        hello = _understood(data)
        if not isinstance(hello, Hello):
            raise Lost("the hub did not say hello")
        self._progress.subscribed(hello)
        self._stand(connection, Connected(str(self._dial.address), hello.hub))
        nursery.start_soon(self._send_acks, connection)

    async def _take(self, connection: HubConnection, data: str | bytes) -> None:
        if connection.raw:
            await self._put.send(parse_raw(data, self._wanted, time_us=wall_clock_us()))
            return
        match _understood(data):
            case Message() | Gap() | Heartbeat() as item:
                await self._put.send(item)
            case ErrorFrame(title):
                logger.warning("%s says: %s", self._dial.address, title)

    async def _send_acks(self, connection: HubConnection) -> None:
        while True:
            while text := self._progress.take_ack():
                await connection.send(text)
                await trio.sleep(self._ack_pause_s)
            await self._acks_waiting.park()

    def _check_raw_will_do(self) -> None:
        for name, what in _NEEDS_V1.items():
            if name in self._query:
                raise OnlyRaw(f"{self._dial.address} speaks only raw frames, which cannot do {what}")

    def _stand(self, connection: HubConnection, event: Connected) -> None:
        self._connection = connection
        self._connected_at = trio.current_time()
        self._tell(logging.INFO if event.resumable else logging.WARNING, event)
        self.standing.set()

    def _note_loss(self, problem: HookbotError) -> float:
        lasted_s = trio.current_time() - self._connected_at if self._connection else 0
        delay_s = self._backoff.next_s(lasted_s=lasted_s, at_least_s=retry_after(problem))
        self._connection = None
        if not self._leaving:
            self._tell(logging.WARNING, Disconnected(str(self._dial.address), str(problem), delay_s))
        return delay_s

    def _tell(self, level: int, event: Event) -> None:
        logger.log(level, "%s", event)
        if self._on_event is not None:
            self._on_event(event)


def _understood(data: str | bytes | None) -> Frame | None:
    try:
        return None if data is None else parse_frame(data)
    except ValueError as error:
        raise Lost(f"the hub sent what cannot be understood: {error}") from None
