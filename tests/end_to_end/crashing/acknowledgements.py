"""What consumers of a hub have acknowledged, and how much of that the hub has forgotten when it died."""

import time
from collections.abc import Iterable
from math import inf

from end_to_end.crashing.hub import Hub

FORGETS_S = 1.5
"""A hub saves fifteen times in this time, and more than once on a machine that has much else to do."""


class Acknowledgements:
    """Ids that the clients of one cursor or group have acknowledged."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._acked: dict[str, tuple[int, float]] = {}
        self.forgotten: list[float] = []
        """Of each message that came again after its acknowledgement: how many seconds later the hub died."""

    def note(self, ids: Iterable[str], life: int) -> None:
        """Note what was just acknowledged, in which life of the hub."""
        self._acked.update(dict.fromkeys(ids, (life, time.monotonic())))

    def hear(self, id: str, life: int) -> bool:
        """Note a message that comes; True if it was acknowledged before."""
        known = self._acked.pop(id, None)
        if known:
            acked_in, at = known
            self.forgotten.append(self._hub.ended_at[acked_in] - at if acked_in < life else inf)
        return known is not None

    def check(self, name: str) -> None:
        """Check that the hub forgets only what was acknowledged just before it died."""
        longest = max(self.forgotten, default=0)
        assert longest < FORGETS_S, f"{name} was given what it had acknowledged {longest:.1f} s before the hub died"
