"""The state of a cursor or a group, and the note that the log keeps with its position."""

import json
import secrets
import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import partial

from ..log.contract import SavedCursor
from ..protocol.envelope import encode_json
from .acked_ahead import Range
from .claims import ConsumerId

# Of a cursor or a group whose note was never saved: hubs of version 1.0 kept none.
FIRST_GENERATION = "0"


def renewed(saved: SavedCursor) -> str:
    """The note of a saved cursor whose log was restored: clients take a cursor or a group for one that was moved."""
    if not saved.name.startswith(("cursor ", "group ")):
        return saved.note
    state = ConsumerState.load(saved, used_us=0, head=sys.maxsize)
    state.generation = secrets.token_hex(8)
    return state.note


@dataclass(slots=True, eq=False)
class ConsumerState:
    """Current position of a cursor or a group. Moving one by hand replaces its state with a new one."""

    id: ConsumerId
    position: int
    used_us: int
    saved: int | None = None
    """Position in the log, or None before the first save."""
    sent: int = 0
    """Position up to which clients may have received messages, on any connection, even before a restart."""
    waiting: bool = False
    """True if messages are known to wait for it."""
    generation: str = field(default_factory=partial(secrets.token_hex, 8))
    """Random name of this state, for clients: what they acknowledged in another one may be meant to come again."""
    acked: Callable[[], Sequence[Range]] = tuple
    """Ranges after the position that a group has acknowledged, now."""
    sent_unacked: Collection[int] = ()
    """Positions that a group had sent and were not acknowledged when its last member left; none while it has members.
    """

    @classmethod
    def load(cls, saved: SavedCursor, *, used_us: int, head: int) -> "ConsumerState":
        """State as it was saved. A note that is damaged counts as none: messages are sent again then."""
        try:
            note = json.loads(saved.note or "{}")
            generation = str(note.get("generation", FIRST_GENERATION))
            # Beyond the head, if damage cost the newest messages, there will be others.
            acked = [(int(first), int(last)) for first, last in note.get("acked", ()) if last <= head]
            sent = frozenset(int(position) for position in note.get("sent", ()) if position <= head)
        except (ValueError, TypeError, AttributeError):
            generation, acked, sent = secrets.token_hex(8), [], frozenset()
        id = ConsumerId.parse(saved.name)
        state = cls(id, saved.position, used_us, saved=saved.position, sent=head, generation=generation)
        state.acked = partial(tuple, acked)
        state.sent_unacked = sent
        return state

    @property
    def note(self) -> str:
        """Note that the log keeps with the position."""
        known = {"acked": self.acked(), "sent": sorted(self.sent_unacked)}
        return encode_json({"generation": self.generation} | {name: value for name, value in known.items() if value})
