"""Shared positions: those of cursors and groups whose log is that of several hubs, each of which serves some of them.

To serve one is a duty. Its hub has the state in memory, as the only hub of a log has all of them: read from the log
when it claims the duty, and saved for the duty, so that a hub that has lost it without noticing saves nothing. When the
last connection has left and the state is saved, the duty is given up.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from weakref import WeakValueDictionary

import trio

from ..errors import Ended, HeldElsewhere, Refused, Superseded, Unavailable
from ..log.duties import TRIM, Held, Holder
from ..protocol.since import Since
from ..protocol.websocket import TRY_AGAIN_LATER
from .broker import Broker
from .claims import ConsumerId
from .consumer_state import ConsumerState
from .positions import UNUSED_US, Positions
from .room import LimitsOf, check_room, no_limits
from .starts import Start

# A hub that lives has renewed what has less left.
RENEWED_S = 6.5


class SharedPositions(Positions):
    """States of the cursors and groups that this hub serves, and what the log knew of all when it was asked last."""

    def __init__(self, broker: Broker, clock_us: Callable[[], int], limits_of: LimitsOf = no_limits) -> None:
        super().__init__(broker, clock_us, limits_of)
        self._duties = broker.log.duties
        self._held: dict[ConsumerId, Held] = {}
        self._saved: dict[ConsumerId, ConsumerState] = {}
        self._used_elsewhere: Collection[str] = ()
        self._locks = WeakValueDictionary[ConsumerId, trio.Lock]()
        self._claiming: set[ConsumerId] = set()
        self._watching: trio.Nursery
        self._running = trio.Event()
        self._known_to_wait: dict[ConsumerId, int] = {}
        """Saved positions of those for which messages wait: the sweep need not look for any again."""

    async def load(self) -> None:
        """Read nothing yet: the server of the log may be down when a hub starts."""

    def find(self, id: ConsumerId) -> ConsumerState | None:
        return super().find(id) or self._saved.get(id)

    def all(self) -> Collection[ConsumerState]:
        return (dict(self._saved) | self._states).values()

    def is_used_elsewhere(self, id: ConsumerId) -> bool:
        return id not in self._held and str(id) in self._used_elsewhere

    def check_room(self, id: ConsumerId) -> None:
        """Do nothing: only the log knows how many a path has, so `hold` has asked that."""

    async def refresh(self, path: str | None = None) -> None:
        await self.broker.log.refresh()
        if path is None:
            self._saved = {state.id: state for state in await self._read("cursor ", "group ")}
            self._used_elsewhere = {name for hub in await self._duties.hubs() for name in hub.duties}
        else:
            found = await self._read(f"cursor {path} ", f"group {path} ")
            for gone in [id for id in self._saved if id.path == path]:
                del self._saved[gone]
            self._saved |= {state.id: state for state in found}

    async def hold(self, id: ConsumerId, *, takeover: bool = False) -> None:
        await self._running.wait()
        # One after the other for each: a second claim of this hub would be the loss of the first.
        async with self._locks.setdefault(id, trio.Lock()):
            if id in self._held:
                return
            if self.find(id) is None:
                # Before the claim: clients may not have this hub claim any number.
                await self.refresh(None if self.limits_of(id.wanted) else id.path)
            if self.find(id) is None:
                check_room(id, {*self._saved, *self._held, *self._claiming}, self.limits_of)
            self._claiming.add(id)
            try:
                await self._claim(id, takeover)
            finally:
                self._claiming.discard(id)

    async def restore(self, id: ConsumerId, since: Since | None) -> tuple[ConsumerState, Start]:
        await self.hold(id)
        return await super().restore(id, since)

    async def run(self) -> None:
        async with trio.open_nursery() as self._watching:
            self._running.set()
            await super().run()

    async def close(self) -> None:
        await super().close()
        for held in tuple(self._held.values()):
            await self._duties.give_up(held)

    async def sweep(self) -> None:
        """Sweep those that this hub serves and, if it has the duty of trimming, those that nobody serves."""
        idle: Sequence[ConsumerId] = ()
        if self._duties.find(TRIM):
            with suppress(Unavailable):
                idle = await self._hold_idle()
        await super().sweep()
        for id in idle:
            if (state := self._states.get(id)) and state.waiting:
                self._known_to_wait[id] = state.position
        await self._give_up_unused(tuple(self._held))

    async def _hold_idle(self) -> Sequence[ConsumerId]:
        """Claim those that nobody uses, as far as the sweep has something to do for them."""
        await self.refresh()
        self._known_to_wait = {id: at for id, at in self._known_to_wait.items() if id in self._saved}
        due = [state.id for state in self._saved.values() if state.id not in self._states and self._is_due(state)]
        for id in due:
            # One that was deleted meanwhile may be refused.
            with suppress(HeldElsewhere, Refused):
                await self.hold(id)
        return due

    def _is_due(self, state: ConsumerState) -> bool:
        waits = self._known_to_wait.get(state.id) == state.position
        return state.used_us < self._clock.ago_us(UNUSED_US) or (state.position < self.broker.head and not waits)

    async def _claim(self, id: ConsumerId, takeover: bool) -> None:
        held = await self._duties.claim(str(id), takeover=takeover)
        # Nobody has it any more.
        while isinstance(held, Holder) and not held.hub:
            held = await self._duties.claim(str(id), takeover=takeover)
        if isinstance(held, Holder):
            raise HeldElsewhere.by(held.hub, held.url, f"{id.kind} {id.name}", retry_after_s=_free_in_s(held))
        try:
            await self._read_state(id)
        except BaseException:
            await self._duties.give_up(held)
            raise
        self._held[id] = held
        self._watching.start_soon(self._watch, id, held)

    async def _read_state(self, id: ConsumerId) -> None:
        # What another hub has sent and saved is then known here.
        await self.broker.log.refresh()
        self._states |= {state.id: state for state in await self._read(str(id)) if state.id == id}

    async def _watch(self, id: ConsumerId, held: Held) -> None:
        await held.lost.wait()
        self._lose(id, held)

    def _lose(self, id: ConsumerId, held: Held) -> None:
        """Forget the state of what another hub serves now."""
        if self._held.get(id) is held:
            self._forget(id)
            self.claims.revoke(id, Ended(TRY_AGAIN_LATER, _served_elsewhere(id)))

    def _forget(self, id: ConsumerId) -> Held:
        self._states.pop(id, None)
        self._marked.discard(id)
        return self._held.pop(id)

    async def _save(self, ids: Sequence[ConsumerId], duty: Held | None = None) -> None:
        """Save as the only hub of a log does, but each for its duty, all at the same time."""
        failures: list[Unavailable] = []

        async def save(id: ConsumerId) -> None:
            # Not before this task runs: what is lost has no state any more, which would mean that it was deleted.
            held = self._held.get(id)
            try:
                if not held:
                    # Of who began while this hub had it.
                    self._states.pop(id, None)
                    raise Superseded(_served_elsewhere(id))
                await Positions._save(self, [id], held)
            except Unavailable as error:
                failures.append(error)
                if held and isinstance(error, Superseded):
                    self._lose(id, held)

        # What was lost is saved by the hub that has it.
        self._marked.difference_update(ids)
        # A commit is not cancellable; nor is the wait for several.
        with trio.CancelScope(shield=True):
            async with trio.open_nursery() as nursery:
                for id in ids:
                    nursery.start_soon(save, id)
        await self._give_up_unused(ids)
        if failures:
            raise failures[0]

    async def _give_up_unused(self, ids: Iterable[ConsumerId]) -> None:
        for id in ids:
            if id in self._held and id not in self._marked and not self.claims.find(id):
                await self._duties.give_up(self._forget(id))


def _free_in_s(holder: Holder) -> float:
    """Seconds until a hub that seems to be dead no longer has a duty; 0 if it may live, and give it up any moment."""
    return holder.ends_s if holder.ends_s < RENEWED_S else 0


def _served_elsewhere(id: ConsumerId) -> str:
    return f"another hub of the family serves the {id.kind} {id.name} now; reconnect"
