"""Batches: the units of one commit, with the positions, the outcomes and the cursors that they get.

All engines share it; each stores what a batch has in its own way.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter

from ..errors import Superseded
from ..protocol.message import Draft, Message, format_id
from .budgets import root_of
from .contract import Move, Noted, Result, Unit
from .deduplication import FirstUse, Outcome, digest, refusal
from .retention import Row

SizeOf = Callable[[Message], int]
"""Function for the size of a message, as a log counts it."""

own_size: SizeOf = attrgetter("size")


def moved_in(units: Sequence[Unit]) -> list[str]:
    """Names of the cursors that units move."""
    return [name for unit in units for name, new in unit.cursors.items() if isinstance(new, Move)]


@dataclass(slots=True)
class Batch:
    """Units of one commit. Each draft gets the next position, unless one of its exclusive keys was used before."""

    epoch: str
    head: int
    """Position of the newest message, before the batch and then in it."""
    time_us: int
    known: Mapping[bytes, FirstUse]
    """First uses that the log has stored, at least for the keys of these drafts."""
    positions: Mapping[str, int] = field(default_factory=dict)
    """Positions that the log has saved, at least of the cursors that are moved."""
    fences: Mapping[str, int] | None = None
    """Fences of the duties that this hub holds, at least of those for which units are stored; None if it holds all."""
    size_of: SizeOf = own_size
    cursors: dict[str, Noted | None] = field(default_factory=dict)
    """Cursors for the log to save, or to delete."""
    keys: dict[bytes, FirstUse] = field(default_factory=dict)
    """First uses in this batch, for the log to store."""
    stored: list[tuple[Row, Message]] = field(default_factory=list)
    """Messages of this batch, for the log to store."""
    prefix_of: Callable[[str], str] = root_of
    """Function for the prefix of the budget of a topic."""
    rows: dict[str, list[Row]] = field(default_factory=lambda: defaultdict(list))
    """Rows of each partition, by the prefix of its budget."""
    after: int = field(init=False)
    """Position of the newest message before the batch."""

    def __post_init__(self) -> None:
        self.after = self.head

    def add_unit(self, unit: Unit) -> Result:
        """Add a unit and return the outcomes of its drafts, or `Superseded`; then it changes nothing."""
        duty = unit.duty
        if duty and self.fences is not None and self.fences.get(duty.name) != duty.fence:
            return Superseded(f"another hub has taken over the duty {duty.name!r}")
        for name, new in unit.cursors.items():
            if isinstance(new, Move) and self._position_of(name) != new.before:
                return Superseded(f"the cursor {name!r} is no longer at position {new.before}")
        for name, new in unit.cursors.items():
            self.cursors[name] = None if new is None else Noted.of(new)
        return [self.add(draft) for draft in unit.drafts]

    def add(self, draft: Draft) -> Outcome:
        """Add a draft and return it as a message with the next id, or the reason why it is not stored."""
        duplicate_of = None
        for once in draft.once:
            first = self._first_use(digest(once))
            if first and once.exclusive:
                return refusal(once, first, self.epoch)
            if first and duplicate_of is None:
                duplicate_of = format_id(self.epoch, first.position)
        self.head += 1
        message = draft.stored(self.epoch, self.head, self.time_us, duplicate_of)
        row = self.head, self.time_us, self.size_of(message)
        self.stored.append((row, message))
        self.rows[self.prefix_of(draft.topic)].append(row)
        # Those of an earlier draft stay, also if this one names a key twice.
        for once in draft.once:
            if self._first_use(key := digest(once)) is None:
                self.keys[key] = FirstUse(self.head, self.time_us, draft.unverified, once.fingerprint)
        return message

    @property
    def is_empty(self) -> bool:
        """True if there is nothing for the log to store."""
        return not (self.stored or self.cursors)

    @property
    def messages(self) -> list[Message]:
        """The messages, in order."""
        return [message for _, message in self.stored]

    def _position_of(self, name: str) -> int | None:
        if name in self.cursors:
            moved = self.cursors[name]
            return moved.position if moved else None
        return self.positions.get(name)

    def _first_use(self, key: bytes) -> FirstUse | None:
        return self.known.get(key) or self.keys.get(key)
