"""What is newest, and where: answers "nothing new here" without a look at the disk."""

from collections.abc import Iterable
from operator import itemgetter

from ..protocol.topics import TopicFilter, patterns_of

PATTERNS = 1 << 15  # of 100 bytes each, some 10 MiB in both generations


class TopicHeads:
    """The newest position that each pattern selects, for the patterns that were in use last.

    It remembers two generations of at least `PATTERNS` patterns. What has dropped out of both selects
    nothing newer than the end of the generation that was forgotten.
    """

    def __init__(self, head: int) -> None:
        self._young: dict[str, int] = {}
        self._old: dict[str, int] = {}
        self._turned = head
        self._forgotten = head

    def add(self, places: Iterable[tuple[str, int]]) -> None:
        """Take note of topics and positions of messages, in the order of positions."""
        for topic, position in sorted(dict(places).items(), key=itemgetter(1)):
            for pattern in patterns_of(topic):
                self._young[pattern] = position
            if len(self._young) >= PATTERNS:
                self._old, self._young = self._young, {}
                self._forgotten, self._turned = self._turned, position

    def of(self, wanted: TopicFilter) -> int:
        """A position after which `wanted` selects nothing."""
        return max(map(self._of_pattern, wanted.patterns), default=0)

    def _of_pattern(self, pattern: str) -> int:
        return self._young.get(pattern) or self._old.get(pattern) or self._forgotten
