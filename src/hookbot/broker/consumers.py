"""Sessions: subscriptions whose client acknowledges. Opens cursors and groups, lists, moves and deletes them."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

import trio

from ..errors import Ended, NotFound
from ..protocol.message import Gap, format_id, wall_clock_us
from ..protocol.paths import path_of, wanted_at
from ..protocol.since import Since
from ..protocol.subscribe import SubscribeRequest
from ..protocol.websocket import GONE, TRY_AGAIN_LATER
from .broker import Broker
from .channels import Entry
from .consumer_id import ConsumerId, ConsumerKind
from .cursors import open_cursor
from .groups import Groups
from .positions import ConsumerState, Positions


class Consumer(Protocol):
    """One acknowledged subscription, while its client is connected."""

    hello: dict[str, str]
    """What the first object of the connection says besides the usual: the name, and the position's id."""

    async def take(self) -> Sequence[Entry | Gap]:
        """What is to be sent next; nothing at the end. Raises `Ended` and `Unavailable`; cancelling loses nothing."""

    def skip_unwanted(self) -> int:
        """The position for a heartbeat."""

    def ack(self, answer: object) -> None:
        """Hand over a JSON value that the client sent. Raises `Refused`, for an ``error`` object; nothing changed."""


@dataclass(frozen=True, slots=True)
class ConsumerInfo:
    """A cursor or a group, as whoever looks after a hub sees it."""

    kind: ConsumerKind
    path: str
    name: str
    position: str
    lag: int
    """How many positions of the log, whatever their topics, it is behind the newest."""
    connected: bool
    used_us: int
    """When it was connected last; while it is, less than a day ago."""


@asynccontextmanager
async def open_sessions(broker: Broker, *, clock_us: Callable[[], int] = wall_clock_us) -> AsyncIterator["Consumers"]:
    """The sessions of a hub. When the block ends, everything that was acknowledged is saved."""
    positions = Positions(broker, clock_us)
    await positions.load()
    async with trio.open_nursery() as nursery:
        groups = Groups(positions, nursery)
        nursery.start_soon(positions.run)
        nursery.start_soon(groups.run)
        try:
            yield Consumers(positions, groups)
        finally:
            nursery.cancel_scope.cancel()
            await positions.close()


class Consumers:
    """All sessions of a hub, made by `open_sessions`."""

    def __init__(self, positions: Positions, groups: Groups) -> None:
        self._positions = positions
        self._groups = groups

    def check(self, request: SubscribeRequest) -> None:
        """Raises `Refused` for what `open` would refuse now, so that a handshake can be answered with it."""
        self._positions.check(ConsumerId.of(request))
        self._groups.check(request)

    def open(self, request: SubscribeRequest) -> AbstractAsyncContextManager[Consumer]:
        """Have a cursor, or be a member of a group, until the block ends. May wait long for the block to begin.

        Raises `Refused`, `Unavailable`, or `Ended` if it was taken away meanwhile.
        """
        return self._groups.open(request) if request.group else open_cursor(self._positions, request)

    def list(self, path: str | None = None) -> Sequence[ConsumerInfo]:
        """All cursors and groups, or those of one subscription path; raises `Refused` if it is none."""
        wanted = None if path is None else path_of(wanted_at(path))
        places = [place for place in self._positions.all() if wanted in (None, place.key.path)]
        return [self._listed(place) for place in sorted(places, key=lambda place: place.key)]

    async def move(self, kind: ConsumerKind, path: str, name: str, since: Since | None) -> ConsumerInfo:
        """Let one go on from `since`, or from now; connected clients are closed and come back there.

        Raises `NotFound`, `Refused` and `Unavailable`.
        """
        key = self._find(kind, path, name)
        start = await self._positions.broker.start_at(since, key.wanted)
        moved = Ended(TRY_AGAIN_LATER, f"the {kind} {name} was moved: come back and go on from there")
        return self._listed(await self._positions.move(key, start.position, moved))

    async def delete(self, kind: ConsumerKind, path: str, name: str) -> None:
        """Forget one; connected clients are closed for good. Raises `NotFound`, `Refused` and `Unavailable`."""
        await self._positions.delete(self._find(kind, path, name), Ended(GONE, f"the {kind} {name} was deleted"))

    def _find(self, kind: ConsumerKind, path: str, name: str) -> ConsumerId:
        key = ConsumerId(kind, path_of(wanted_at(path)), name)
        if self._positions.find(key) is None:
            raise NotFound(f"there is no {kind} {name[:80]!r} at {key.path!r}")
        return key

    def _listed(self, place: ConsumerState) -> ConsumerInfo:
        positions, key = self._positions, place.key
        if hold := positions.holds.find(key):
            hold.skip_unwanted()
        return ConsumerInfo(
            kind=key.kind,
            path=key.path,
            name=key.name,
            position=format_id(positions.broker.log.epoch, place.position),
            lag=max(0, positions.broker.head - place.position),
            connected=hold is not None,
            used_us=place.used_us,
        )
