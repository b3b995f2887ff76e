"""What consumers of a hub have acknowledged, and how much of that the hub has forgotten when it died."""

import time
from collections.abc import Iterable
from math import inf

from end_to_end.crashing.hub import Hub

FORGETS_S = 1.0
"""A hub saves ten times in this time, even on a machine that has much else to do."""


class Acknowledgements:
    """Ids that the clients of one cursor or group have acknowledged."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._acked: dict[str, tuple[int, float]] = {}
        self.forgotten: list[float] = []
        """Of each message that came again after its acknowledgement: how many seconds later the hub died."""

    def note(self, ids: Iterable[str], life: int) -> None:
        """Note what is acknowledged now, in which life of the hub."""
        self._acked.update(dict.fromkeys(ids, (life, time.monotonic())))

    def hear(self, id: str, life: int) -> None:
        """Note a message that comes, perhaps again."""
        if known := self._acked.pop(id, None):
            acked_in, at = known
            self.forgotten.append(self._hub.ended_at[acked_in] - at if acked_in < life else inf)

    def check(self, name: str) -> None:
        """Check that the hub forgets only what was acknowledged just before it died."""
        longest = max(self.forgotten, default=0)
        assert longest < FORGETS_S, f"{name} was given what it had acknowledged {longest:.1f} s before the hub died"
