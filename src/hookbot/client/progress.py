"""The progress of a listener: where a new connection resumes, what is in hand, and what is to be acknowledged."""

from ..protocol.frames import Heartbeat, Hello, format_ack
from ..protocol.message import Gap, Message
from ..protocol.since import parse_duration


class Progress:
    """Progress without a cursor: the position to resume from, `since`, is kept here, and nothing is acknowledged."""

    def __init__(self, since: str | None) -> None:
        self.since = since

    def subscribed(self, hello: Hello) -> None:
        """Note where the hub begins: a fixed position, unlike "now" and "ten minutes ago"."""
        if self.since is None or _is_duration(self.since):
            self.since = hello.last_id or self.since

    def accept(self, item: Message | Gap | Heartbeat) -> bool:
        """Note an item as it reaches the listener; False if it is not to be handed over."""
        if not isinstance(item, Gap) and item.id:
            self.since = item.id
        return not isinstance(item, Heartbeat)

    def done(self, id: str) -> None:
        """Note that a message is done."""

    def take_ack(self) -> str | None:
        """The next acknowledgement as a frame; None if there is none to send."""
        return None


class AckedProgress(Progress):
    """Progress with a cursor or in a group: the hub keeps the position, and every message is acknowledged.

    A cursor is acknowledged up to the last message before which none is still in hand, in whatever
    order they are finished; the members of a group acknowledge `each` message by itself.
    """

    def __init__(self, since: str | None, *, each: bool) -> None:
        super().__init__(since)
        self._each = each
        self._in_hand: dict[str, bool] = {}  # id → is it done; in the order of ids
        self._finished: list[str] = []  # to be acknowledged
        self._up_to: str | None = None

    def subscribed(self, hello: Hello) -> None:
        """Repeat the last acknowledgement of a cursor if the hub does not know it: the old connection broke before."""
        if self._up_to not in (None, hello.position):
            self._finished = [self._up_to]

    def accept(self, item: Message | Gap | Heartbeat) -> bool:
        """False also for a message in hand, which a hub sends again that has no acknowledgement of it yet."""
        if not isinstance(item, Message):
            return isinstance(item, Gap)
        if item.id in self._in_hand:
            return False
        self._in_hand[item.id] = False
        return True

    def done(self, id: str) -> None:
        """An id that is not in hand changes nothing."""
        if id not in self._in_hand:
            return
        self._in_hand[id] = True
        if self._each:
            del self._in_hand[id]
            self._finished.append(id)
            return
        while self._in_hand and self._in_hand[first := next(iter(self._in_hand))]:
            del self._in_hand[first]
            self._finished, self._up_to = [first], first

    def take_ack(self) -> str | None:
        """One frame for everything that is to be acknowledged."""
        if not self._finished:
            return None
        ids, self._finished = self._finished, []
        return format_ack(each=ids) if self._each else format_ack(up_to=ids[0])


def _is_duration(text: str) -> bool:
    try:
        parse_duration(text)
    except ValueError:
        return False
    return True
