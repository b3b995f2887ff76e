"""Consumers: cursors and groups, whose clients acknowledge; opened, listed, moved and deleted."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

import trio

from ..errors import Ended, NotFound, as_refusal
from ..log.duties import SoleDuties
from ..protocol.message import format_id, parse_id, wall_clock_us
from ..protocol.paths import path_of, wanted_at
from ..protocol.since import AfterId, Since
from ..protocol.subscribe import SubscribeRequest
from ..protocol.topics import TopicFilter
from ..protocol.websocket import GONE, TRY_AGAIN_LATER
from .backlogs import Backlog, Reader, measure
from .broker import Broker
from .claims import ConsumerId, ConsumerKind
from .consumer_state import ConsumerState
from .cursors import open_cursor
from .groups import Groups
from .history import MessageSource
from .positions import Positions
from .room import LimitsOf, no_limits
from .shared_positions import SharedPositions
from .time_slices import TimeSlice


class Consumer(MessageSource, Protocol):
    """A message source for one connection, whose client acknowledges."""

    hello: dict[str, str]
    """Name and position, for the first object of the connection."""

    def ack(self, received: object) -> None:
        """Acknowledge the messages that a JSON value of the client names.

        Raises `Refused` if it is not an acknowledgement or names a message not sent yet; then nothing is acknowledged.
        """


@dataclass(frozen=True, slots=True)
class ConsumerInfo:
    """State of a cursor or a group, as operators list it."""

    kind: ConsumerKind
    path: str
    name: str
    position: str
    lag: int
    """Distance from the head of the log, in positions of any topic."""
    connected: bool
    used_us: int
    """Time of the last use, in microseconds since 1970; during a connection it is up to a day old."""
    unacked: int | None
    """Number of messages that were sent and not acknowledged; None if another hub serves it."""
    behind: int | None
    """Number of its own messages after the position, as far as they were counted; see `Backlog`."""
    behind_more: bool
    behind_s: float | None


@asynccontextmanager
async def open_consumers(
    broker: Broker, *, clock_us: Callable[[], int] = wall_clock_us, limits_of: LimitsOf = no_limits
) -> AsyncIterator["Consumers"]:
    """Consumers of a hub until the block ends. Then all acknowledged positions are saved; a failure is only logged.

    Raises `Unavailable` if the saved positions cannot be read.
    """
    alone = isinstance(broker.log.duties, SoleDuties)
    positions = (Positions if alone else SharedPositions)(broker, clock_us, limits_of)
    await positions.load()
    async with trio.open_nursery() as nursery:
        groups = Groups(positions, nursery)
        nursery.start_soon(positions.run)
        nursery.start_soon(groups.run)
        try:
            yield Consumers(positions, groups)
        finally:
            # Cancelled first: only a save that has begun can overlap with the last one, and commits keep their order.
            nursery.cancel_scope.cancel()
            await positions.close()


class Consumers:
    """All cursors and groups of a hub, with or without connections. Made by `open_consumers`."""

    def __init__(self, positions: Positions, groups: Groups) -> None:
        self._positions = positions
        self._groups = groups

    async def locate(self, request: SubscribeRequest, *, takeover: bool = False) -> None:
        """Raise `HeldElsewhere` if another hub serves the cursor or the group, unless this is a takeover.

        Raises `Refused` if there is no room for it, and `Unavailable` if the log fails.
        """
        await self._positions.hold(ConsumerId.of(request), takeover=takeover)

    async def refresh(self) -> None:
        """Have `list` know what other hubs have done, if there are any. Raises `Unavailable`."""
        await self._positions.refresh()

    def paths(self) -> Sequence[str]:
        """Paths of all cursors and groups, each as often as it has any."""
        return [state.id.path for state in self._positions.all()]

    def check_request(self, request: SubscribeRequest) -> None:
        """Raise the `Refused` that `open` would raise now, so that the handshake can be answered with it."""
        self._positions.check_room(ConsumerId.of(request))
        self._groups.check_order(request)

    def open(self, request: SubscribeRequest) -> AbstractAsyncContextManager[Consumer]:
        """Consumer for a connection until the block ends. Entering waits for a cursor that is in use, without limit.

        Entering raises `Refused` as `check_request` does, `Unavailable` if the log fails, `HeldElsewhere` if another
        hub serves it, and `Ended` if the cursor or group is revoked meanwhile.
        """
        return self._groups.open(request) if request.group else open_cursor(self._positions, request)

    async def list(
        self, path: str | None = None, *, shows: Callable[[TopicFilter], bool] = lambda wanted: True
    ) -> Sequence[ConsumerInfo]:
        """Cursors and groups: all, or those of one path, and only of filters that someone `shows`.

        Raises `Refused` if `path` is not that of a subscription.
        """
        named = None if path is None else path_of(wanted_at(path))
        of_path = (state for state in self._positions.all() if named in (None, state.id.path))
        # Others are not counted for it.
        states = [state for state in of_path if shows(state.id.wanted)]
        return await self._describe(sorted(states, key=lambda state: state.id))

    async def reader(self, kind: ConsumerKind, path: str, name: str) -> Reader | None:
        """Topics that a cursor or a group reads, and its position; None if it does not exist. Raises `Unavailable`."""
        id = ConsumerId(kind, path_of(wanted_at(path)), name)
        await self._positions.refresh(id.path)
        state = self._positions.find(id)
        if state is None:
            return None
        if claim := self._positions.claims.find(id):
            claim.skip_unwanted()
        return id.wanted, state.position

    async def starting_with(self, path: str, id: str) -> Since:
        """The `since` with which `move` has a cursor or a group of a path begin with one of its messages.

        Raises `NotFound` if there is no such message, `Refused` if `id` or `path` is none, and `Unavailable` if the
        log fails.
        """
        wanted, log = wanted_at(path), self._positions.broker.log
        with as_refusal():
            epoch, position = parse_id(id)
        # Another hub may have stored it.
        await log.refresh()
        page = await log.read(wanted, after=position - 1, limit=1, max_bytes=1)
        if not page.messages or page.messages[0].id != id:
            raise NotFound(f"the log has no message {id} for {path_of(wanted)!r}")
        return AfterId(epoch, position - 1)

    async def move(
        self, kind: ConsumerKind, path: str, name: str, since: Since | None, *, takeover: bool = False
    ) -> ConsumerInfo:
        """Move a cursor or a group to `since` (None: the head); its connections are closed and resume there.

        Raises `NotFound` if it does not exist, `Refused` if `path` is not that of a subscription, `HeldElsewhere` if
        another hub serves it and this is no takeover, and `Unavailable` if the log fails; if only the save failed, it
        is moved all the same, and saved later.
        """
        id = await self._find(kind, path, name, takeover)
        start = await self._positions.broker.starts.at(since, id.wanted)
        moved = Ended(TRY_AGAIN_LATER, f"the {kind} {name} was moved; reconnect to resume from there")
        [info] = await self._describe([await self._positions.move(id, start.position, moved)])
        return info

    async def delete(self, kind: ConsumerKind, path: str, name: str, *, takeover: bool = False) -> None:
        """Delete a cursor or a group, and close its connections for good.

        Raises as `move` does; if the log fails, it is deleted in memory, and in the log later.
        """
        id = await self._find(kind, path, name, takeover)
        await self._positions.delete(id, Ended(GONE, f"the {kind} {name} was deleted"))

    async def _find(self, kind: ConsumerKind, path: str, name: str, takeover: bool) -> ConsumerId:
        id = ConsumerId(kind, path_of(wanted_at(path)), name)
        await self._positions.refresh(id.path)
        if self._positions.find(id) is None:
            raise NotFound(f"there is no {kind} {name[:80]!r} at {id.path!r}")
        await self._positions.hold(id, takeover=takeover)
        return id

    async def _describe(self, states: Sequence[ConsumerState]) -> Sequence[ConsumerInfo]:
        time_slice = TimeSlice()
        readers: list[Reader] = []
        for state in states:
            await time_slice.yield_if_over()
            if claim := self._positions.claims.find(state.id):
                claim.skip_unwanted()
            readers.append((state.id.wanted, state.position))
        backlogs = await measure(self._positions.broker, readers)
        time_slice.begin()
        infos: list[ConsumerInfo] = []
        for state, reader in zip(states, readers, strict=True):
            await time_slice.yield_if_over()
            infos.append(self._info(state, reader[1], backlogs[reader]))
        return infos

    def _info(self, state: ConsumerState, position: int, backlog: Backlog) -> ConsumerInfo:
        positions, id = self._positions, state.id
        claim, elsewhere = positions.claims.find(id), positions.is_used_elsewhere(id)
        unacked = claim.unacked() if claim else len(state.sent_unacked)
        return ConsumerInfo(
            kind=id.kind,
            path=id.path,
            name=id.name,
            position=format_id(positions.broker.log.epoch, position),
            lag=max(0, positions.broker.head - position),
            connected=claim is not None or elsewhere,
            used_us=state.used_us,
            unacked=None if elsewhere else unacked,
            behind=backlog.behind,
            behind_more=backlog.behind_more,
            behind_s=backlog.behind_s,
        )
