"""Activity of a source since the hub started, for its operator: what it has accepted and refused."""

from dataclasses import dataclass


@dataclass(slots=True)
class SourceActivity:
    """Counts of a source's requests, and when the last ones came, in seconds of the monotonic clock; None for never."""

    accepted: int = 0
    """Genuine deliveries, without those that were seen before."""
    duplicates: int = 0
    """Genuine deliveries that were seen before."""
    refused: int = 0
    last_accepted_s: float | None = None
    last_refused_s: float | None = None
    why: str = ""
    """Reason for the last refusal."""

    def accept(self, now_s: float, *, is_repeat: bool) -> None:
        """Count a genuine delivery."""
        if is_repeat:
            self.duplicates += 1
        else:
            self.accepted += 1
        self.last_accepted_s = now_s

    def recall(self, at_s: float) -> None:
        """Know of a delivery that was accepted at this time, before the hub was started or at another hub."""
        self.last_accepted_s = at_s if self.last_accepted_s is None else max(self.last_accepted_s, at_s)

    def refuse(self, now_s: float, why: str) -> None:
        """Count a refused request, which may be anybody's."""
        self.refused += 1
        self.last_refused_s, self.why = now_s, why
