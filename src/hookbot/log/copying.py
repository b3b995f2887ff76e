"""Whole logs, copied from one place to another, such as from a data directory to PostgreSQL.

A copy is the same log: its epoch and those that it had before it was restored, its messages with their positions, keys,
cursors, and what retention has deleted. So listeners that come to its hub resume with the ids and the cursors that they
have, and miss nothing. Until the copy is finished, it is marked, and no hub opens it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple, Protocol

from ..errors import ConfigError
from ..protocol.message import Message
from .budgets import Budgets
from .contract import SavedCursor
from .deduplication import FirstUse
from .retention import Deleted
from .stored_message import StoredMessage

# What is read and written at a time: much more would not be faster, and is held in memory.
PART_MESSAGES = 1000
PART_BYTES = 8 << 20
PART_KEYS = 5000


class LostRange(NamedTuple):
    """Positions between `after` and `before`: of the messages there, those up to `lost_up_to` are lost."""

    before: int
    after: int
    lost_up_to: int


# Without slots, for what is cached.
@dataclass(frozen=True)
class LogState:
    """State of a log beside its messages, its keys and its cursors."""

    epoch: str
    head: int
    """Position and time of the newest message."""
    head_us: int
    count: int
    """Number of its messages."""
    deleted: Mapping[str, Deleted]
    """Deletions by retention in each budget, by their prefixes."""
    dense: int | None = None
    """As in `Partition`; None if there may be holes anywhere."""
    earlier_keys: int = 0
    """Position up to which keys may be those of an earlier version; 0 if there are none of those."""
    lost_ranges: Sequence[LostRange] = ()
    ancestors: Mapping[str, int] = field(default_factory=dict)
    """Logs with which it shares messages since it was restored, each up to a position, by their epochs."""

    def keeps(self, message: StoredMessage) -> bool:
        """False for a message that retention has deleted, and damage has left."""
        return message.position > self.deleted[self.budgets.of(message.topic)].passed

    @cached_property
    def budgets(self) -> Budgets:
        """The budgets by which retention has deleted."""
        return Budgets(self.deleted)

    @property
    def gone_up_to(self) -> int:
        """Position up to which there are no messages any more."""
        return min(deleted.passed for deleted in self.deleted.values())


class CopyPart(NamedTuple):
    """All messages up to a position, after that of the part before; none if they are lost by damage."""

    messages: Sequence[StoredMessage]
    up_to: int
    damaged: bool = False


class DeletedRow(NamedTuple):
    """Row that stays of a message that somebody has deleted."""

    position: int
    time_us: int
    topic: str


def stored_of(messages: Sequence[Message]) -> list[StoredMessage]:
    """The messages as they are stored, which were read from a log."""
    found = [message for message in messages if isinstance(message, StoredMessage)]
    assert len(found) == len(messages), "a log on disk or in PostgreSQL reads no others"
    return found


class CopySource(Protocol):
    """A log that is read whole, while no hub uses it; it is not changed. All methods raise `Unavailable`."""

    name: str

    async def state(self) -> LogState:
        """Its state. Raises `ConfigError` if a hub uses it."""

    async def part(self, after: int) -> CopyPart:
        """The messages after a position, as many as are copied at a time."""

    async def deleted(self, after: int) -> Sequence[DeletedRow]:
        """Rows that stay of deleted messages after a position, as many as are copied at a time, in order."""

    async def keys(self, after: bytes) -> Mapping[bytes, FirstUse]:
        """First uses of keys, as many as are copied at a time, by their digests: in order, those after `after`."""

    async def cursors(self) -> Sequence[SavedCursor]:
        """All cursors."""


class CopyTarget(Protocol):
    """A log that is written whole. All methods raise `Unavailable`; what they have written before stays."""

    name: str

    async def begin(self, source: str, state: LogState) -> tuple[int, int]:
        """Position of the newest message, from which an unfinished copy goes on, and the number of messages there.

        Raises `ConfigError` if there is another log.
        """

    async def newest(self) -> StoredMessage | None:
        """The newest message there."""

    async def add(self, messages: Sequence[StoredMessage]) -> None:
        """Write messages behind those that are there."""

    async def add_lost(self, lost: LostRange) -> None:
        """Note that messages are lost, behind those that are there."""

    async def add_deleted(self, deleted: Sequence[DeletedRow]) -> None:
        """Write what stays of deleted messages, in place of those that an attempt before has written."""

    async def forget_keys(self) -> None:
        """Delete the keys of an attempt before."""

    async def add_keys(self, keys: Mapping[bytes, FirstUse]) -> None:
        """Write keys."""

    async def finish(self, state: LogState, cursors: Sequence[SavedCursor]) -> None:
        """Write what else there is, and remove the mark, so that a hub opens the log, in one durable commit."""


Note = Callable[[int, int], None]
"""Function that is told the number of messages that are there, and of all."""


@dataclass(slots=True)
class Copied:
    """Result of a copy: numbers of messages that it wrote, and that an earlier attempt had written."""

    messages: int = 0
    earlier: int = 0
    cursors: int = 0
    keys: int = 0
    damaged: int = 0
    """Number of positions whose messages are left out, since they are damaged."""


async def copy_log(source: CopySource, target: CopyTarget, note: Note) -> Copied:
    """Copy a log. If this is cancelled or fails, the same call goes on from there.

    Raises `ConfigError` if the source is in use, or the target is no copy of it, and `Unavailable`.
    """
    state = await source.state()
    after, count = await target.begin(source.name, state)
    copied = Copied(earlier=count)
    note(count, state.count)
    if after:
        await _require_same(source, target)
    after = max(after, state.gone_up_to)
    while after < state.head:
        part = await source.part(after)
        kept = [message for message in part.messages if state.keeps(message)]
        if part.damaged:
            copied.damaged += part.up_to - after
            await target.add_lost(LostRange(part.up_to + 1, after, part.up_to))
        elif kept:
            await target.add(kept)
        after = part.up_to
        copied.messages += len(kept)
        note(copied.earlier + copied.messages, state.count)
    await _copy_deleted(source, target)
    await _copy_keys(source, target, copied)
    cursors = await source.cursors()
    copied.cursors = len(cursors)
    if await source.state() != state:
        raise ConfigError(f"the log in {source.name} has changed meanwhile: stop its hubs, and copy again")
    await target.finish(state, cursors)
    return copied


def not_new(place: str) -> ConfigError:
    """Error for a target that has another log."""
    return ConfigError(f"there is a log in {place}: a copy needs a place that has none")


def another_copy(place: str) -> ConfigError:
    """Error for a target that is an unfinished copy of another log."""
    return ConfigError(f"there is an unfinished copy of another log in {place}: delete it, or give another place")


async def _require_same(source: CopySource, target: CopyTarget) -> None:
    """Raise `ConfigError` unless the newest message of the target is in the source: that may have been restored."""
    newest = await target.newest()
    if newest is None:
        return
    part = await source.part(newest.position - 1)
    # Retention may have deleted it, or damage hide it.
    if part.messages and part.messages[0].position == newest.position and part.messages[0] != newest:
        raise ConfigError(
            f"the unfinished copy in {target.name} has other messages than {source.name}: delete it, and copy again"
        )


async def _copy_deleted(source: CopySource, target: CopyTarget) -> None:
    last = 0
    while deleted := await source.deleted(last):
        await target.add_deleted(deleted)
        last = deleted[-1].position


async def _copy_keys(source: CopySource, target: CopyTarget, copied: Copied) -> None:
    await target.forget_keys()
    last = b""
    while keys := await source.keys(last):
        await target.add_keys(keys)
        copied.keys += len(keys)
        last = max(keys)
