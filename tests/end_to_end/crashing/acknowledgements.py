"""What consumers of a hub have acknowledged, and how much of that the hub has forgotten when it died."""

import time
from collections.abc import Iterable
from typing import NamedTuple

from end_to_end.crashing.hub import Reachable

FORGETS = 15
"""In so many tenths of a second in which a hub answers senders, it saves as often, or at least once."""


class Forgotten(NamedTuple):
    """A message that came again after its acknowledgement."""

    unsaved: float
    """In how many tenths of a second senders were answered before the hub died; infinite if it did not."""
    id: str
    acknowledged_in: int
    """Life of the hub."""
    given_in: int


class Acknowledgements:
    """Ids that the clients of one cursor or group have acknowledged."""

    def __init__(self, hub: Reachable) -> None:
        self._hub = hub
        self._acked: dict[str, tuple[int, float]] = {}
        self.forgotten: list[Forgotten] = []

    def note(self, ids: Iterable[str], life: int) -> None:
        """Note what was just acknowledged, in which life of the hub."""
        self._acked.update(dict.fromkeys(ids, (life, time.monotonic())))

    def hear(self, id: str, life: int) -> bool:
        """Note a message that comes; True if it was acknowledged before."""
        known = self._acked.pop(id, None)
        if known:
            acked_in, at = known
            self.forgotten.append(Forgotten(self._hub.unsaved(at, acked_in, life), id, acked_in, life))
        return known is not None

    def check(self, name: str) -> None:
        """Check that the hub forgets only what was acknowledged just before it died."""
        for forgotten in self.forgotten:
            assert forgotten.unsaved < FORGETS, f"{name} was given what it had acknowledged: {forgotten}"
