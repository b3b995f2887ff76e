"""Positions: up to where each cursor and each group has acknowledged, remembered durably.

The table in memory tells the truth, and the log follows it: what was acknowledged within `SAVE_INTERVAL_S`, in one
commit for all, the rest with the next sweep. A saved position may be behind the true one, and is never ahead
of it: after a crash messages may come again, and none is lost.
"""

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import trio

from ..errors import Ended, Refused, Unavailable
from ..protocol.message import parse_id
from ..protocol.since import AfterId, Since
from .broker import Broker, Start
from .claims import Claim, Claims
from .consumer_id import ConsumerId

MAX_PER_PATH = 100
SAVE_INTERVAL_S = 0.1
RETRY_INTERVAL_S = 1.0
SWEEP_INTERVAL_S = 60.0
BATCH = 500  # positions in one commit
DAY_US = 86_400_000_000
UNUSED_US = 30 * DAY_US

USED = "used "
"""Under a key's name with this before it, the log remembers when it was used last, in seconds since 1970."""

logger = logging.getLogger("hookbot.positions")


@dataclass(slots=True, eq=False)
class ConsumerState:
    """A position as it is now. One that is set anew by hand becomes another place."""

    key: ConsumerId
    position: int
    used_us: int
    saved: int | None = None
    sent: int = 0
    """Up to where the client of a cursor may have been sent everything, on whichever connection, by whichever hub."""
    waiting: bool = False
    """Whether it is known that messages wait for it."""


class Positions:
    """The table of all places."""

    def __init__(self, broker: Broker, clock_us: Callable[[], int]) -> None:
        self.broker = broker
        self.holds = Claims()
        self._clock_us = clock_us
        self._places: dict[ConsumerId, ConsumerState] = {}
        self._marked: set[ConsumerId] = set()
        self._news = trio.Event()

    async def load(self) -> None:
        """Read what the log remembers; raises `Unavailable`."""
        log = self.broker.log
        used = {cursor.name.removeprefix(USED): cursor.position for cursor in await log.cursors(USED)}
        for cursor in [*await log.cursors("cursor "), *await log.cursors("group ")]:
            key = ConsumerId.parse(cursor.name)
            used_us = used[cursor.name] * 1_000_000 if cursor.name in used else cursor.updated_us
            self._places[key] = ConsumerState(
                key, cursor.position, used_us, saved=cursor.position, sent=self.broker.head
            )

    def find(self, key: ConsumerId) -> ConsumerState | None:
        """The place of a key, if it has one."""
        return self._places.get(key)

    def all(self) -> Collection[ConsumerState]:
        """All places."""
        return self._places.values()

    def check(self, key: ConsumerId) -> None:
        """Raises `Refused` if `key` would be one too many."""
        if key not in self._places and sum(other.path == key.path for other in self._places) >= MAX_PER_PATH:
            raise Refused(f"{key.path!r} has {MAX_PER_PATH} cursors and groups already; delete one of them first")

    async def restore(self, key: ConsumerId, since: Since | None) -> tuple[ConsumerState, Start]:
        """The place of a key and where to go on; a new one starts at `since`, and is saved before this returns.

        Raises `Refused` if there are too many, and `Unavailable` if the log fails.
        """
        start = None
        if key not in self._places:
            self.check(key)
            start = await self.broker.start_at(since, key.wanted)
            self._places.setdefault(key, self._new(key, _before_gap(start)))
        place = self._places[key]
        self._use(place)
        if place.saved is None:
            await self._save([key])
        return place, start or await self.broker.start_at(AfterId(self.broker.log.epoch, place.position), key.wanted)

    def advance(self, place: ConsumerState, position: int, *, soon: bool = False) -> None:
        """Move a place forward, to be saved with the next sweep or, if it should be, `soon`."""
        if position > place.position:
            place.position = position
            if soon:
                self._mark(place.key)

    def release(self, hold: Claim) -> None:
        """Somebody has gone, perhaps long after the key was taken away from them."""
        if self.holds.release(hold) and (place := self._places.get(hold.key)):
            place.used_us, place.waiting = self._clock_us(), False
            self._mark(hold.key)

    async def move(self, key: ConsumerId, position: int, reason: Ended) -> ConsumerState:
        """Set a place anew, in either direction; whoever has it is told the reason. Raises `Unavailable`."""
        self.holds.take_away(key, reason)
        place = self._places[key] = self._new(key, position)
        await self._save([key])
        return place

    async def delete(self, key: ConsumerId, reason: Ended) -> None:
        """Forget a place; whoever has it is told the reason. Raises `Unavailable`."""
        self.holds.take_away(key, reason)
        self._places.pop(key, None)
        await self._save([key])

    async def run(self) -> None:
        """Save what changes, until cancelled; then `close` is due."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_sweeping)
            while True:
                await self._news.wait()
                self._news = trio.Event()
                await trio.sleep(SAVE_INTERVAL_S if await self._save_marked() else RETRY_INTERVAL_S)

    async def close(self) -> None:
        """Save everything that is not saved yet; not cancellable."""
        self._mark_unsaved()
        await self._save_marked()

    async def sweep(self) -> None:
        """Look after every place: those in use stay, quiet ones follow the head, unused ones end."""
        for place in tuple(self._places.values()):
            if self._places.get(place.key) is not place:
                continue  # deleted or moved since
            if hold := self.holds.find(place.key):
                hold.skip_unwanted()
                self._use(place)
            elif self._clock_us() - place.used_us > UNUSED_US:
                logger.info("nobody has used this for 30 days, it ends: %s", place.key)
                del self._places[place.key]
                self._mark(place.key)
            elif not place.waiting and place.position < self.broker.head:
                await self._follow(place)
        self._mark_unsaved()

    async def _keep_sweeping(self) -> None:
        while True:
            await trio.sleep(SWEEP_INTERVAL_S)
            await self.sweep()

    async def _follow(self, place: ConsumerState) -> None:
        """Move a place that nobody holds up to what waits for it, so that retention makes no hole where nothing was."""
        before = place.position
        try:
            position, waiting = await self._next_after(place)
        except Unavailable:
            return
        if self._places.get(place.key) is place and not self.holds.find(place.key) and place.position == before:
            hole = self.broker.gap_after(place.key.wanted, before)
            place.position = before if hole else position
            place.waiting = waiting or hole is not None

    async def _next_after(self, place: ConsumerState) -> tuple[int, bool]:
        position, wanted = place.position, place.key.wanted
        while position < self.broker.head:
            page = await self.broker.log.read(wanted, after=position, limit=1, max_bytes=1)
            if page.messages:
                return page.messages[0].position - 1, True
            position = page.next_after
        return position, False

    def _new(self, key: ConsumerId, position: int) -> ConsumerState:
        return ConsumerState(key, position, self._clock_us(), sent=position)

    def _use(self, place: ConsumerState) -> None:
        now_us = self._clock_us()
        if now_us - place.used_us > DAY_US:
            place.used_us = now_us
            self._mark(place.key)

    def _mark(self, *keys: ConsumerId) -> None:
        self._marked.update(keys)
        self._news.set()

    def _mark_unsaved(self) -> None:
        self._mark(*(place.key for place in self._places.values() if place.position != place.saved))

    async def _save_marked(self) -> bool:
        keys = list(self._marked)
        try:
            for first in range(0, len(keys), BATCH):
                await self._save(keys[first : first + BATCH])
        except Unavailable as error:
            logger.warning("positions of cursors could not be saved: %s", error)
            return False
        return True

    async def _save(self, keys: Sequence[ConsumerId]) -> None:
        """Store these places as they are, or that they are no more; raises `Unavailable`, and they stay marked."""
        self._marked.difference_update(keys)
        places = [self._places.get(key) for key in keys]
        positions = [place.position if place else None for place in places]
        used = [place.used_us // 1_000_000 if place else None for place in places]
        names = [*map(str, keys), *(f"{USED}{key}" for key in keys)]
        try:
            await self.broker.commit([], cursors=dict(zip(names, positions + used, strict=True)))
        except Unavailable:
            self._mark(*keys)
            raise
        for place, position in zip(places, positions, strict=True):
            if place:
                place.saved = position


def _before_gap(start: Start) -> int:
    """Where a new place begins, so that a gap is told again if the client did not hear of it the first time."""
    if start.gap is None or start.gap.reason != "retention":
        return start.position
    return parse_id(start.gap.after)[1] if start.gap.after else 0
