"""The log: an append-only record of messages in the order of their ids, and the only durable state of a hub.

`Log` says what any engine promises; `MemoryLog` keeps nothing over a restart; the default is
`hookbot.log_sqlite.SqliteLog`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from .errors import KeyReused
from .message import Draft, Message
from .topics import TopicFilter


@dataclass(frozen=True, slots=True)
class Duplicate:
    """The answer to a draft whose `Once` key was known: nothing was stored; `id` is the first message's."""

    id: str


Outcome = Message | Duplicate | KeyReused
"""What became of one draft. A `KeyReused` is handed back, not raised: the rest of its batch is stored."""


@dataclass(frozen=True, slots=True)
class Page:
    """A stretch of what a filter selects, in the order asked for.

    Everything selected up to and including `next_after` is in this page or was before it; when
    `next_after` is the head, the page reached the end of the log. (Backwards: down to `next_after`.)
    """

    messages: Sequence[Message]
    next_after: int


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in the log that somebody asked the hub to remember."""

    name: str
    position: int
    updated_us: int


@dataclass(frozen=True, slots=True)
class Retention:
    """How much history is kept: whichever limit is reached first. None means without limit.

    Unsafe topics, where strangers publish, count against a budget of their own, so
    that they can never push out a safe message. Idempotency keys live for `dedup_s`.
    """

    max_age_s: float | None = 7 * 86400
    max_bytes: int | None = 1 << 30
    max_count: int | None = None
    max_unsafe_bytes: int | None = 256 << 20
    dedup_s: float = 86400


class Log(Protocol):
    """What an engine promises. Positions count from 1, strictly increasing, never reused, not even after retention."""

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
        position `after`, newest first. May return fewer, even none, before the end, since only a bounded
        stretch of the log is searched; go on from `next_after`. Raises `Unavailable`.
        """

    async def position_before(self, time_us: int) -> int:
        """The position after which everything was stored at or after `time_us`."""

    def lost_up_to(self, wanted: TopicFilter) -> int:
        """The highest position that retention may have taken from what `wanted` selects; 0 if nothing was.

        Whoever continues after a lower position has to be told of a gap.
        """

    async def cursors(self, prefix: str = "") -> Sequence[Cursor]:
        """All saved cursors whose name begins with `prefix`, by name."""

    async def trim(self, retention: Retention, *, now_us: int) -> bool:
        """Delete one bounded step of what `retention` no longer keeps; True when there is more to do.

        Called by the same task as `append`, between batches.
        """

    async def check(self) -> None:
        """Raises `Unavailable` unless the store can be written to now."""
