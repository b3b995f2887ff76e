"""Copies of selected messages: what was made of them, wherever that is, found step by step."""

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from functools import cache

from ...access.scope import Scope, topic_of
from ...broker.time_slices import TimeSlice
from ...errors import Refused
from ...log.contract import Log
from ...log.copies import Copy
from ...protocol.topics import EVERYTHING, is_own
from ..page_turns import PageTurns

MAX_MESSAGES = 1_000_000
"""Number of messages that one request selects, with their copies."""
MAX_TOPICS = 20


class PositionSet:
    """Set of positions that are added in their order, in eight bytes for each."""

    def __init__(self) -> None:
        self._all = array("q")

    def __contains__(self, position: int) -> bool:
        index = bisect_left(self._all, position)
        return index < len(self._all) and self._all[index] == position

    def __len__(self) -> int:
        return len(self._all)

    def add(self, position: int) -> None:
        """Add a position after all others."""
        self._all.append(position)

    def newest_first(self, *, without: int = 0) -> Iterator[int]:
        """The positions, the newest first, without so many of the oldest."""
        return (self._all[index] for index in range(len(self._all) - 1, without - 1, -1))


class Lineage:
    """Selected messages, and those that were made of them, also by several steps: copies that go with them, or stay."""

    def __init__(self, log: Log, turns: PageTurns, scope: Scope, *, keep_copies: bool) -> None:
        """Copies that the scope does not manage stay; all of them if `keep_copies`."""
        self.selected = PositionSet()
        self.copies = PositionSet()
        self.left = PositionSet()
        self.left_on: dict[str, None] = {}
        """Topics of those that stay, as far as the scope sees them, and at most `MAX_TOPICS`."""
        self.searched_to = 0
        """Position up to which copies were looked for."""
        self._log = log
        self._turns = turns
        self._scope = scope
        self._manages = cache(scope.manages)
        self._keep_copies = keep_copies

    def __len__(self) -> int:
        return len(self.selected) + len(self.copies)

    def select(self, positions: Iterable[int]) -> None:
        """Add selected messages, in order, before copies are looked for. Raises `Refused` if they are too many."""
        for position in positions:
            if not self.selected:
                self.searched_to = position
            self.selected.add(position)
        self._check_number()

    async def look_on(self) -> None:
        """Look for copies in a bounded part of the log. Raises `Refused` if they are too many, and `Unavailable`."""
        async with self._turns.requests.of(self._scope.holder), self._turns:
            page = await self._log.copies(after=self.searched_to)
        time_slice = TimeSlice()
        for copy in page.copies:
            await time_slice.yield_if_over()
            if copy.position not in self.selected and any(map(self._has, copy.origins)):
                await self._add(copy)
        self.searched_to = page.next_after
        self._check_number()

    def _has(self, position: int) -> bool:
        return any(position in some for some in (self.selected, self.copies, self.left))

    async def _add(self, copy: Copy) -> None:
        if not self._keep_copies and await self._manages_copy(copy):
            self.copies.add(copy.position)
            return
        self.left.add(copy.position)
        if self._scope.sees(copy.topic) and len(self.left_on) < MAX_TOPICS:
            self.left_on[copy.topic] = None

    async def _manages_copy(self, copy: Copy) -> bool:
        if self._manages(copy.topic) or not is_own(copy.topic):
            return self._manages(copy.topic)
        # Only the message itself says of which it tells.
        page = await self._log.read(EVERYTHING, after=copy.position - 1, limit=1, max_bytes=1)
        return all(self._manages(topic_of(message)) for message in page.messages)

    def _check_number(self) -> None:
        if len(self) + len(self.left) > MAX_MESSAGES:
            raise Refused(f"these are more than {MAX_MESSAGES:,} messages with their copies; select fewer, with until")
