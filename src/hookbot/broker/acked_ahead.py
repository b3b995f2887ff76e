"""Acknowledgements of a group that are ahead of its reading: of messages that it need not read and send again."""

from bisect import bisect_right, insort
from collections.abc import Iterable, Sequence

Range = tuple[int, int]
"""First and last position of a range."""

# Each takes about twenty bytes in the log, and all of them are written together. Beyond them, messages are sent again.
MAX_RANGES = 1000


class AckedAhead:
    """Ranges of acknowledged positions after the one up to which a group has read the log.

    Positions are looked up in ascending order: the ranges before are forgotten.
    """

    def __init__(self, ranges: Iterable[Range] = ()) -> None:
        self._ranges = sorted(ranges)

    @property
    def newest(self) -> int:
        """Newest position of all ranges, 0 if there is none."""
        return max((last for _, last in self._ranges), default=0)

    def add(self, position: int) -> None:
        """Add a position; does nothing if there are `MAX_RANGES` already."""
        before = bisect_right(self._ranges, (position, position)) - 1
        is_known = before >= 0 and position <= self._ranges[before][1]
        if not is_known and len(self._ranges) < MAX_RANGES:
            insort(self._ranges, (position, position))

    def end_of(self, position: int) -> int | None:
        """Last position of the range that a position is in; None if it is in none."""
        while self._ranges and self._ranges[0][1] < position:
            del self._ranges[0]
        return self._ranges[0][1] if self._ranges and self._ranges[0][0] <= position else None

    def after(self, position: int) -> Sequence[Range]:
        """Ranges that end after a position."""
        return [(max(first, position + 1), last) for first, last in self._ranges if last > position]
