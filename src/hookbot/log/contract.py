"""The contract of a log: an append-only record of messages in the order of their ids."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Literal, NamedTuple, Protocol

from ..callbacks import Callback
from ..errors import Superseded
from ..protocol.message import Draft, Message, Once
from ..protocol.topics import TopicFilter
from .copies import CopiesPage
from .deduplication import Outcome
from .duties import Duties, Held
from .histogram import Histogram
from .retention import Retention


@dataclass(frozen=True, slots=True)
class Page:
    """Consecutive messages that a filter selects, in the order requested.

    The next page starts after position `next_after`: every selected message up to there is in this page or in an
    earlier one. It equals the head at the end of the log. Backwards, the next page starts before `next_after`, which is
    0 at the beginning. If a page of `limit` messages ends there, one more page, an empty one, may be needed to see it.
    """

    messages: Sequence[Message]
    next_after: int
    hole: Literal["", "damage", "failover"] = ""
    """Reason if the page is a hole: it is empty because its range is damaged, or was lost in a failover."""


class Behind(NamedTuple):
    """Messages that a filter selects after a position: how many, and since when they wait."""

    number: int = 0
    more: bool = False
    """True if there may be more than were counted."""
    oldest_us: int = 0
    """Time of the oldest; 0 if none was counted."""
    end: int = 0
    """Position up to which was counted, if there may be more after it and fewer than asked for were found."""


@dataclass(frozen=True, slots=True)
class SavedCursor:
    """A position in the log, stored under a name: of a cursor, a group or a router."""

    name: str
    position: int
    updated_us: int
    note: str = ""


class Noted(NamedTuple):
    """A position to be saved with a note: text of the cursor's owner, which is kept until the next save."""

    position: int
    note: str = ""

    @classmethod
    def of(cls, position: "int | Noted | Move") -> "Noted":
        """Position with its note, an empty one if it has none."""
        match position:
            case Noted():
                return position
            case Move():
                return cls(position.after)
        return cls(position)


class Move(NamedTuple):
    """A position to be saved only if the cursor still is at `before`, None if it has to be a new one."""

    before: int | None
    after: int


NewPosition = int | Noted | Move | None
"""Position to be saved for a cursor; None deletes it."""


@dataclass(slots=True)
class Unit:
    """Drafts and cursors that are stored together or not at all. Immutable by convention."""

    drafts: Sequence[Draft] = ()
    cursors: Mapping[str, NewPosition] = field(default_factory=dict)
    duty: Held | None = None
    """Duty for which it is stored, if another hub may have taken that over."""
    began: float = field(default_factory=perf_counter)
    """Time at which it was submitted, on the clock of `perf_counter`."""


Result = Sequence[Outcome] | Superseded
"""Result of a unit: the outcome of each draft, in order; `Superseded` if a `Move` found its cursor elsewhere, or if
another hub has the duty."""

Stored = Callback[Sequence[Result]]


class News(NamedTuple):
    """All messages after position `after` up to `head`, in order, whoever has stored them."""

    after: int
    messages: Sequence[Message]
    head: int
    began: float = 0.0
    """Time at which the first was submitted, as `Unit.began`; 0 if that was at another hub."""


Tell = Callable[[News], None]

Forget = Callable[[Collection[int] | None], None]
"""Function that is told the positions of messages that were deleted, or None if those are not known."""


class DeletionStep(NamedTuple):
    """Step of a deletion: the number of the messages that were there, and the positions that are left to do."""

    number: int
    rest: Sequence[int]


class Usage(NamedTuple):
    """Contents of one part of a log, as totals."""

    messages: int
    size: int
    """Bytes, as retention counts them."""
    oldest_us: int
    """Lower bound on the time of the oldest message; 0 if there is none."""


class Log(Protocol):
    """Append-only record of messages, the interface of all engines.

    Positions count from 1, strictly increase, and are never reused, even after retention. Some may never be used.
    The broker's writer has `store`, `append`, `trim`, `delete` and `erase` called one at a time; all other methods may
    be called concurrently.
    """

    @property
    def epoch(self) -> str:
        """Eight random letters that name this log, so that ids of another one, or of an earlier one, are recognised."""

    @property
    def duties(self) -> Duties:
        """Duties, each of which only one of the hubs that share this log has at a time."""

    @property
    def trimmed(self) -> int:
        """Number of messages that `trim` has deleted here since the log was opened."""

    @property
    def sync_times(self) -> Histogram:
        """Seconds that it took to get each batch from SQLite to the disk; empty for engines that cannot tell."""

    @property
    def head(self) -> int:
        """Position of the newest message that was told, or was there at the start; 0 before the first."""

    @property
    def head_us(self) -> int:
        """Time of the newest message ever appended, 0 before the first."""

    def store(self, units: Sequence[Unit], done: Stored) -> None:
        """Store units in one durable commit, and call `done` with the result of each, in order.

        A log that needs no waiting calls it at once. Only one call at a time, until `done` is called. The error is
        `Unavailable` if the storage fails: then nothing is stored, and a later call may succeed. It is `Damaged` if a
        part of the storage that this very batch needs is damaged: another batch may succeed.
        """

    def follow(self, tell: Tell) -> None:
        """From now on, call `tell` in the event loop with all that anybody stores: in order, once, each after the last.

        What this log has stored is told after `done`. If `after` is not the head that was told before, the messages in
        between are only to be read. `tell` must not raise. There is one follower: the broker.
        """

    def follow_deletions(self, forget: Forget) -> None:
        """From now on, call `forget` in the event loop when somebody has deleted messages. It must not raise."""

    async def refresh(self) -> None:
        """Have told what anybody has stored, and know what retention has deleted, until now. Raises `Unavailable`."""

    async def append(self, drafts: Sequence[Draft], *, cursors: Mapping[str, NewPosition] = {}) -> Sequence[Outcome]:
        """Store one unit, and return its outcomes or raise the error, also `Superseded`. Not cancellable."""

    async def read(self, wanted: TopicFilter, *, after: int, limit: int, max_bytes: int, newest: bool = False) -> Page:
        """Page of the messages that `wanted` selects after position `after`; with `newest`, before it, newest first.

        A page has at most `limit` messages of `max_bytes` together; the first one fits, however large. It may have
        fewer, even none, since one call scans a bounded range of the log: continue from `next_after`. Messages that are
        damaged are a page of their own, a `hole`. What retention deleted before the page was read is counted in
        `lost_up_to` when this returns. Cancelling is safe. Raises `Unavailable`.
        """

    async def behind(self, wanted: TopicFilter, *, after: int, limit: int) -> Behind:
        """The messages that `wanted` selects after position `after`, counted up to `limit`. Raises `Unavailable`.

        As `read`, one call scans a bounded range of the log. It reads nothing if there are none for certain.
        """

    async def copies(self, *, after: int) -> CopiesPage:
        """Page of the copies after position `after`. Raises `Unavailable`.

        As `read`, one call scans a bounded range of the log. A copy that is damaged is left out.
        """

    async def find(self, once: Once) -> str | None:
        """Id of the message that was the first with a key; None if there was none, or the key has expired.

        It may have been deleted. Raises `Unavailable`.
        """

    async def position_before(self, time_us: int) -> int:
        """Position after which all messages still kept were stored at `time_us` or later. Raises `Unavailable`."""

    def lost_up_to(self, wanted: TopicFilter) -> int:
        """Highest position at which retention may have deleted a message that `wanted` selects, 0 if there is none.

        A subscription that resumes after a lower position has a gap.
        """

    def gone_up_to(self, wanted: TopicFilter) -> int:
        """Position up to which retention has deleted all messages that `wanted` selects.

        From there to `lost_up_to`, only those are left whose topics have other limits than the deleted ones.
        """

    def shared_with(self, epoch: str) -> int:
        """Position up to which a log of that epoch has the same messages, -1 if it is another one.

        That is the head for its own, and the end of the backup for the epoch that it had before it was restored.
        """

    def hole_after(self, position: int) -> int:
        """Last position of the hole that a failover has left after `position`, 0 if there is none.

        `read` returns the same, but a page that was read from an earlier position may not have it.
        """

    def usage(self) -> Mapping[str, Usage]:
        """Totals of each budget, by its prefix; none if only another hub knows it."""

    async def cursors(self, prefix: str = "") -> Sequence[SavedCursor]:
        """Saved cursors whose names begin with `prefix`, sorted by name. Raises `Unavailable`."""

    async def trim(self, retention: Retention, *, now_us: int) -> bool:
        """Delete one bounded step of the messages and keys that `retention` no longer keeps; True if there may be more.

        Only at the hub that holds the duty `TRIM`. Cheap when nothing is due, so the writer calls it between batches. A
        log that has a clock of its own goes by that, not by `now_us`. Raises `Unavailable`; a later call continues.
        """

    async def delete(self, positions: Sequence[int]) -> DeletionStep:
        """Delete one bounded step of the messages at these positions, the newest first, in one commit.

        Their positions stay: nobody is told of a gap, and what repeats one of them is a duplicate of it as before.
        Those that were deleted before do not count. Raises `Unavailable`; not cancellable.
        """

    async def erase(self) -> bool:
        """Have one step of what was deleted leave no bytes in this hub's files; True if there may be more.

        `Unavailable` if something prevents it: it is done when that has ended.
        """

    async def probe(self) -> None:
        """Write to the storage and undo the write. Raises `Unavailable` if it fails. Costs as much as an append."""
