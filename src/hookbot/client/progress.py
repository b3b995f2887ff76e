"""Progress of a listener: the position to resume from, the messages in hand, the acknowledgements to send."""

from ..protocol.frames import Heartbeat, Hello, format_ack
from ..protocol.message import Gap, Message
from ..protocol.since import parse_duration


class Progress:
    """Progress without a cursor or a group: keeps the position to resume from, `since`, and acknowledges nothing."""

    def __init__(self, since: str | None) -> None:
        self.since = since

    def subscribed(self, hello: Hello) -> None:
        """Replace a `since` that is relative to the time of connecting by the position at which the hub begins."""
        # "Now" and "ten minutes ago" are later for each new connection: resuming from them would miss messages.
        if self.since is None or _is_duration(self.since):
            self.since = hello.last_id or self.since

    def accept(self, item: Message | Gap | Heartbeat) -> bool:
        """Record an item, and return True if the listener should receive it: any but a heartbeat."""
        if not isinstance(item, Gap) and item.id:
            self.since = item.id
        return not isinstance(item, Heartbeat)

    def done(self, id: str) -> None:
        """Do nothing: there is nothing to acknowledge."""

    def take_ack(self) -> str | None:
        """Next acknowledgement frame to send, or None."""
        return None


class AckedProgress(Progress):
    """Progress with a cursor or in a group: the hub keeps the position, and every message is acknowledged.

    Messages may be finished in any order. A cursor is acknowledged up to the last message that is done together with
    all earlier ones; the members of a group acknowledge `each` message separately.
    """

    def __init__(self, since: str | None, *, each: bool) -> None:
        super().__init__(since)
        self._each = each
        # Ids in their order; True for those that are done, but wait for an earlier one.
        self._in_hand: dict[str, bool] = {}
        self._unsent: list[str] = []
        self._up_to: str | None = None

    def subscribed(self, hello: Hello) -> None:
        """Queue the last acknowledgement of a cursor again, unless the hub reports exactly that position."""
        if self._up_to not in (None, hello.position):
            self._unsent = [self._up_to]

    def accept(self, item: Message | Gap | Heartbeat) -> bool:
        """Record an item; False for a heartbeat, and for a message in hand, which a new connection sends again."""
        if not isinstance(item, Message):
            return isinstance(item, Gap)
        if item.id in self._in_hand:
            return False
        self._in_hand[item.id] = False
        return True

    def done(self, id: str) -> None:
        """Record that a message is done; does nothing if it is not in hand."""
        if id not in self._in_hand:
            return
        self._in_hand[id] = True
        if self._each:
            del self._in_hand[id]
            self._unsent.append(id)
            return
        while self._in_hand and self._in_hand[first := next(iter(self._in_hand))]:
            del self._in_hand[first]
            self._unsent, self._up_to = [first], first

    def take_ack(self) -> str | None:
        """One frame with all acknowledgements not taken yet, or None."""
        if not self._unsent:
            return None
        ids, self._unsent = self._unsent, []
        return format_ack(each=ids) if self._each else format_ack(up_to=ids[0])


def _is_duration(text: str) -> bool:
    try:
        parse_duration(text)
    except ValueError:
        return False
    return True
