"""What happens to the connection of a listener; `str()` of each is the sentence that is logged."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Connected:
    """The subscription stands; nothing from now on is missed. `resumable` is False for a hub older than 1.0."""

    address: str
    hub: str
    resumable: bool = True

    def __str__(self) -> str:
        if self.resumable:
            return f"listening to {self.address} ({self.hub})"
        return (
            f"listening to {self.address}, which speaks only raw frames: "
            "it cannot resume, what comes while disconnected is lost"
        )


@dataclass(frozen=True, slots=True)
class Waiting:
    """There is a connection, but the hub does not begin: as a rule somebody else has the `cursor`."""

    address: str
    cursor: str | None

    def __str__(self) -> str:
        why = f"until nobody else has the cursor {self.cursor!r}" if self.cursor else "for the hub to begin"
        return f"connected to {self.address}, waiting {why}"


@dataclass(frozen=True, slots=True)
class Disconnected:
    """There is no connection, `why`, and the next attempt follows after `retry_in_s`."""

    address: str
    why: str
    retry_in_s: float

    def __str__(self) -> str:
        return f"not listening to {self.address}: {self.why}; trying again in {self.retry_in_s:.1f} s"


Event = Connected | Waiting | Disconnected
