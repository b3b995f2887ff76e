"""The contract of a log: an append-only record of messages in the order of their ids."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ..protocol.message import Draft, Message
from ..protocol.topics import TopicFilter
from .deduplication import Outcome
from .retention import Retention


@dataclass(frozen=True, slots=True)
class Page:
    """Consecutive messages of what a filter selects, in the order asked for.

    Everything selected up to and including `next_after` is in this page or was before it; when
    `next_after` is the head, the page reached the end of the log. (Backwards: down to and including
    `next_after`; 0 when the page reached the beginning.)
    """

    messages: Sequence[Message]
    next_after: int


@dataclass(frozen=True, slots=True)
class SavedCursor:
    """A position in the log that somebody asked the hub to remember."""

    name: str
    position: int
    updated_us: int


class Log(Protocol):
    """A log, whatever its engine. Positions count from 1, strictly increasing, never reused, even after retention."""

    @property
    def epoch(self) -> str:
        """Eight random letters that name this log; a wiped log gets others."""

    @property
    def head(self) -> int:
        """The position of the newest message ever appended; 0 before the first."""

    async def append(self, drafts: Sequence[Draft], *, cursors: Mapping[str, int | None] = {}) -> Sequence[Outcome]:
        """Store all drafts and cursors in one durable commit (a cursor of None is deleted).

        Only one caller at a time; the broker's writer. Not cancellable once begun. Raises
        `Unavailable`, with nothing of it stored, when the store cannot take it; a later call may succeed.
        """

    async def read(self, wanted: TopicFilter, *, after: int, limit: int, max_bytes: int, newest: bool = False) -> Page:
        """The next messages that `wanted` selects after position `after`.

        At most `limit`, of about `max_bytes` (but one, however large). With `newest`, backwards: those before
        position `after`, newest first. May return fewer, even none, before the end, since one call scans only
        a bounded range of the log; go on from `next_after`. Raises `Unavailable`.
        """

    async def position_before(self, time_us: int) -> int:
        """The position after which everything was stored at or after `time_us`. Raises `Unavailable`."""

    def lost_up_to(self, wanted: TopicFilter) -> int:
        """The highest position that retention may have taken from what `wanted` selects; 0 if nothing was.

        Whoever continues after a lower position has to be told of a gap.
        """

    async def cursors(self, prefix: str = "") -> Sequence[SavedCursor]:
        """All saved cursors whose name begins with `prefix`, by name. Raises `Unavailable`."""

    async def trim(self, retention: Retention, *, now_us: int) -> bool:
        """Delete one bounded step of what `retention` no longer keeps; True when there is more to do.

        Called by the same task as `append`, between batches. Costs next to nothing when nothing is due.
        Raises `Unavailable`, with nothing of it deleted.
        """

    async def probe(self) -> None:
        """Raises `Unavailable` unless the store can be written to now; it really writes, so do not ask too often."""
