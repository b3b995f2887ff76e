"""Positions: the acknowledged position of each cursor and each group, saved in the log.

The table in memory is authoritative, and the log follows it: acknowledgements are saved within `SAVE_INTERVAL_S`, many
in one commit, other moves with the next sweep. A saved position may be behind the one in memory, and is ahead of it
only after a move back by hand that could not be saved: after a crash messages may be sent again, and none is lost.
"""

import logging
from collections.abc import Callable, Collection, Sequence

import trio

from ..errors import Damaged, Ended, Unavailable
from ..log.contract import Noted
from ..log.duties import Held
from ..log.trusted_clock import TrustedClock
from ..protocol.message import parse_id
from ..protocol.since import AfterId, Since
from .broker import Broker
from .claims import Claim, Claims, ConsumerId
from .consumer_state import ConsumerState
from .room import LimitsOf, check_room, no_limits
from .starts import Start

# After a crash, messages acknowledged in this time are sent again; shorter would cost a commit for nearly every
# acknowledgement.
SAVE_INTERVAL_S = 0.1
RETRY_INTERVAL_S = 1.0
# Far shorter than retention usually keeps messages, so that an idle position is moved before it would have a gap.
SWEEP_INTERVAL_S = 60.0
# Publishes wait while a commit is written: thousands of positions are saved in several.
SAVES_PER_COMMIT = 500
# In some milliseconds: there may be tens of thousands.
READ_AT_ONCE = 500
DAY_US = 86_400_000_000
UNUSED_US = 30 * DAY_US
"""Time without a connection after which the next sweep deletes a cursor or group."""

USED = "used "
"""Prefix of the name of the saved cursor that stores the last use of a consumer, in seconds since 1970."""

logger = logging.getLogger(__package__)


class Positions:
    """States of all cursors and groups of a hub."""

    def __init__(self, broker: Broker, clock_us: Callable[[], int], limits_of: LimitsOf = no_limits) -> None:
        self.broker = broker
        self.claims = Claims()
        self._clock = TrustedClock.of(clock_us)
        self.limits_of = limits_of
        self._states: dict[ConsumerId, ConsumerState] = {}
        self._unread = ""
        """Reason why the saved positions are unknown, if they are."""
        self._marked: set[ConsumerId] = set()
        self._news = trio.Event()

    async def load(self) -> None:
        """Read the saved positions from the log; raises `Unavailable` if it fails.

        If they are damaged, no cursor and no group can be used: a new one in its place would skip messages.
        """
        try:
            await self._load()
        except Damaged as error:
            self._unread = str(error)
            logger.error("cursors and groups cannot be used, since their positions cannot be read: %s", error)

    async def _load(self) -> None:
        self._states = {state.id: state for state in await self._read("cursor ", "group ")}

    async def _read(self, *beginnings: str) -> Sequence[ConsumerState]:
        """States in the log of cursors and groups whose saved names begin like one of these."""
        log = self.broker.log
        uses = [use for beginning in beginnings for use in await log.cursors(USED + beginning)]
        used = {use.name.removeprefix(USED): use.position for use in uses}
        states = []
        for beginning in beginnings:
            for cursor in await log.cursors(beginning):
                used_us = used[cursor.name] * 1_000_000 if cursor.name in used else cursor.updated_us
                states.append(ConsumerState.load(cursor, used_us=used_us, head=self.broker.head))
                if len(states) % READ_AT_ONCE == 0:
                    await trio.lowlevel.checkpoint()
        return states

    async def refresh(self, path: str | None = None) -> None:
        """Have `find` know what other hubs have done at a path, or `all` as well everywhere, if there are other hubs.

        Raises `Unavailable`.
        """

    async def hold(self, id: ConsumerId, *, takeover: bool = False) -> None:
        """Make this hub the one that serves a cursor or a group, if it is not.

        Raises `HeldElsewhere` if another one is and this is no takeover, `Refused` if it is new and its path has no
        room for it, and `Unavailable` if the log fails.
        """

    def is_used_elsewhere(self, id: ConsumerId) -> bool:
        """True if another hub serves a cursor or a group."""
        return False

    def find(self, id: ConsumerId) -> ConsumerState | None:
        """State of a cursor or a group, or None if it does not exist. Raises `Damaged` if that is unknown."""
        self._check_read()
        return self._states.get(id)

    def all(self) -> Collection[ConsumerState]:
        """States of all cursors and groups. Raises `Damaged` if they are unknown."""
        self._check_read()
        return self._states.values()

    def check_room(self, id: ConsumerId) -> None:
        """Raise `Refused` if `id` is new and its path has no room for it, and `Damaged` if that is unknown."""
        if self.find(id) is None:
            check_room(id, self._states, self.limits_of)

    async def restore(self, id: ConsumerId, since: Since | None) -> tuple[ConsumerState, Start]:
        """State of a cursor or a group, and its start; a new one starts at `since`, and is saved before this returns.

        Raises `Refused` if its path has too many cursors and groups, and `Unavailable` if the log fails.
        """
        start = None
        if id not in self._states:
            start = await self.broker.starts.at(since, id.wanted)
            # Only now: meanwhile, others may have been made.
            self.check_room(id)
            self._states.setdefault(id, self._new(id, _before_gap(start)))
        state = self._states[id]
        self._use(state)
        if state.saved is None:
            await self._save([id])
        return state, start or await self.broker.starts.at(AfterId(self.broker.log.epoch, state.position), id.wanted)

    def advance(self, state: ConsumerState, position: int, *, soon: bool = False) -> None:
        """Move a position forward, never back; saved with the next sweep, or within `SAVE_INTERVAL_S` if `soon`."""
        if position > state.position:
            state.position = position
            if soon:
                self.save_soon(state)

    def save_soon(self, state: ConsumerState) -> None:
        """Save a state within `SAVE_INTERVAL_S`."""
        self._mark(state.id)

    def release(self, claim: Claim) -> None:
        """Give up a claim and record the time of use; does nothing if it has been revoked."""
        if self.claims.release(claim) and (state := self._states.get(claim.id)):
            state.used_us, state.waiting = self._clock(), False
            self._mark(claim.id)

    async def move(self, id: ConsumerId, position: int, reason: Ended) -> ConsumerState:
        """Set a position by hand, in either direction, and revoke the claim for `reason`.

        Raises `Unavailable` if it cannot be saved now: it is set all the same, and saved later.
        """
        self.claims.revoke(id, reason)
        state = self._states[id] = self._new(id, position)
        await self._save([id])
        return state

    async def delete(self, id: ConsumerId, reason: Ended) -> None:
        """Delete a cursor or a group, and revoke its claim for `reason`.

        Raises `Unavailable` if the log fails now: it is deleted all the same, and in the log later.
        """
        self.claims.revoke(id, reason)
        self._states.pop(id, None)
        await self._save([id])

    async def run(self) -> None:
        """Save acknowledged positions and sweep, until cancelled; then `close` must be called."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_sweeping)
            while True:
                await self._news.wait()
                self._news = trio.Event()
                await trio.sleep(SAVE_INTERVAL_S if await self._save_marked() else RETRY_INTERVAL_S)

    async def close(self) -> None:
        """Save all positions that are not saved yet; not cancellable. A failure is only logged."""
        self._mark_unsaved()
        await self._save_marked()

    async def sweep(self) -> None:
        """Move all positions past messages on other topics, and delete cursors and groups unused for 30 days."""
        for state in tuple(self._states.values()):
            # Deleted or moved while the log was being read for another state.
            if self._states.get(state.id) is not state:
                continue
            if claim := self.claims.find(state.id):
                claim.skip_unwanted()
                self._use(state)
            elif state.used_us < self._clock.ago_us(UNUSED_US):
                logger.info("deleted the unused %s: it had no connection for 30 days", state.id)
                del self._states[state.id]
                self._mark(state.id)
            elif not state.waiting and state.position < self.broker.head:
                await self._follow(state)
        self._mark_unsaved()

    async def _keep_sweeping(self) -> None:
        while True:
            await trio.sleep(SWEEP_INTERVAL_S)
            await self.sweep()

    async def _follow(self, state: ConsumerState) -> None:
        """Move an unclaimed position up to the first message that waits for it.

        Otherwise retention would report a gap to its client although none of the deleted messages matched.
        """
        before = state.position
        try:
            position, waiting = await self._next_after(state)
        except Unavailable:
            return
        # If the state was moved, deleted or claimed while the log was read, the result is outdated.
        if self._states.get(state.id) is state and not self.claims.find(state.id) and state.position == before:
            gap = self.broker.starts.gap_after(state.id.wanted, before)
            state.position = before if gap else position
            state.waiting = waiting or gap is not None

    async def _next_after(self, state: ConsumerState) -> tuple[int, bool]:
        position, wanted = state.position, state.id.wanted
        while position < self.broker.head:
            page = await self.broker.log.read(wanted, after=position, limit=1, max_bytes=1)
            if page.messages:
                return page.messages[0].position - 1, True
            # The consumer stays before it, so that its client is told of the gap.
            if page.hole:
                return position, True
            position = page.next_after
        return position, False

    def _check_read(self) -> None:
        if self._unread:
            raise Damaged(self._unread)

    def _new(self, id: ConsumerId, position: int) -> ConsumerState:
        return ConsumerState(id, position, self._clock(), sent=position)

    def _use(self, state: ConsumerState) -> None:
        now_us = self._clock()
        if now_us - state.used_us > DAY_US:
            state.used_us = now_us
            self._mark(state.id)

    def _mark(self, *ids: ConsumerId) -> None:
        self._marked.update(ids)
        self._news.set()

    def _mark_unsaved(self) -> None:
        self._mark(*(state.id for state in self._states.values() if state.position != state.saved))

    async def _save_marked(self) -> bool:
        ids = list(self._marked)
        try:
            for first in range(0, len(ids), SAVES_PER_COMMIT):
                await self._save(ids[first : first + SAVES_PER_COMMIT])
        except Unavailable as error:
            logger.warning("positions of cursors and groups were not saved, trying again: %s", error)
            return False
        return True

    async def _save(self, ids: Sequence[ConsumerId], duty: Held | None = None) -> None:
        """Save states, or delete those that no longer exist; raises `Unavailable`, and then they stay marked."""
        # Unmarked before the commit: a position that moves while it is written is marked again, and saved next.
        self._marked.difference_update(ids)
        states = [self._states.get(id) for id in ids]
        positions = [Noted(state.position, state.note) if state else None for state in states]
        used = [state.used_us // 1_000_000 if state else None for state in states]
        names = [*map(str, ids), *(f"{USED}{id}" for id in ids)]
        try:
            await self.broker.commit([], cursors=dict(zip(names, [*positions, *used], strict=True)), duty=duty)
        except Unavailable:
            self._mark(*ids)
            raise
        for state, position in zip(states, positions, strict=True):
            if state and position:
                state.saved = position.position


def _before_gap(start: Start) -> int:
    """Position of a new state: before a gap by retention, which is sent again if this connection breaks first."""
    if start.gap is None or start.gap.reason != "retention":
        return start.position
    return parse_id(start.gap.after)[1] if start.gap.after else 0
