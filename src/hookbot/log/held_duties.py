"""The duties that this hub holds, as far as it knows."""

import logging
from collections.abc import Collection, Sequence

import trio

from .duties import Held

# Long enough for a server that restarts, or a hub that has no time, to lose nothing.
TERM_S = 10.0
"""Time for which a duty is held after it was claimed or renewed."""

logger = logging.getLogger(__package__)


class HeldDuties:
    """Duties of this hub, each until it is removed, another hub has it, or its time is over.

    Times are counted from before the database was asked, so that a duty ends here before another hub can claim it.
    """

    def __init__(self) -> None:
        self._held: dict[str, Held] = {}

    def find(self, name: str) -> Held | None:
        """A duty, if it is held now."""
        return self._held.get(name)

    def all(self) -> Sequence[Held]:
        """All duties that are held now."""
        return tuple(self._held.values())

    def add(self, name: str, fence: int, *, asked_at: float) -> Held:
        """Add a duty that was claimed at this time; an earlier one of its name is lost."""
        if earlier := self._held.get(name):
            self.remove(earlier)
        held = self._held[name] = Held(name, fence, asked_at + TERM_S)
        return held

    def remove(self, held: Held) -> bool:
        """Remove a duty, which is lost from now on; False if it was before."""
        if self._held.get(held.name) is not held:
            return False
        del self._held[held.name]
        held.lose()
        return True

    def renew(self, asked: Sequence[Held], kept: Collection[str], *, asked_at: float) -> None:
        """Prolong those of the duties asked for whose names are in `kept`; another hub has taken over all others."""
        for held in asked:
            if held.name in kept:
                held.ends = asked_at + TERM_S
            elif self.remove(held):
                logger.info("another hub has taken over the duty %s", held.name)

    async def expire(self) -> None:
        """Remove each duty whose time is over, until cancelled."""
        while True:
            # One that is added meanwhile does not end before that.
            now = trio.current_time()
            await trio.sleep_until(min([held.ends for held in self.all()], default=now + TERM_S))
            for held in self.all():
                if held.ends <= trio.current_time():
                    self.remove(held)
                    logger.warning("the duty %s is lost: it could not be renewed within %d s", held.name, TERM_S)
