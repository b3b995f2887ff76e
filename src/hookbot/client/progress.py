"""Progress of a listener: the position to resume from, the messages in hand, the acknowledgements to send."""

from collections import OrderedDict
from itertools import islice

from ..protocol.frames import Heartbeat, Hello, format_ack
from ..protocol.message import Gap, Message
from ..protocol.since import parse_duration
from ..protocol.subscribe import MAX_UNACKED

# Acknowledged messages that may come again: a hub has sent no more that are unacknowledged when their acknowledgements
# are lost with the connection, and when it crashes, those that it has not saved are about as many.
MAX_ACKED = 2 * MAX_UNACKED
# Acknowledgements that a member of a group sends again on each new connection, before other members are given the
# messages: about as many as are under way to a hub, or not saved by it, at a time.
REPEATED = 100


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


class NewestFirstProgress(Progress):
    """Progress of a subscription with ``order=newest``, which always resumes from its beginning.

    What was received before comes again, after what has been published meanwhile, and the listener receives neither.
    """

    def __init__(self, since: str | None) -> None:
        super().__init__(since)
        self._oldest: str | None = None

    def accept(self, item: Message | Gap | Heartbeat) -> bool:
        if isinstance(item, Heartbeat):
            return False
        place = item.after or "" if isinstance(item, Gap) else item.id
        # Ids grow in the order of storing.
        if self._oldest is not None and place >= self._oldest:
            return False
        if isinstance(item, Message):
            self._oldest = item.id
        return True


class AckedProgress(Progress):
    """Progress with a cursor or in a group: the hub keeps the position, and every message is acknowledged.

    Messages may be finished in any order. A cursor is acknowledged up to the last message that is done together with
    all earlier ones; the members of a group acknowledge `each` message separately.

    An acknowledgement may be lost with its connection, or by a hub that crashes. A message that then comes again is
    acknowledged again, and the listener does not receive it a second time, unless the cursor or the group was moved by
    hand meanwhile.
    """

    def __init__(self, since: str | None, *, each: bool) -> None:
        super().__init__(since)
        self._each = each
        self._generation: str | None = None
        # Ids and times in the order of arrival. Some are done, but wait for an earlier one.
        self._in_hand: dict[str, int] = {}
        self._done: set[str] = set()
        # The last ones, oldest first. A log that was restored from a backup uses ids again, at other times.
        self._acked: OrderedDict[str, int] = OrderedDict()
        # Id and time of the newest message received.
        self._newest = ("", 0)
        # Ids, each once: a hub that does not read acknowledgements may send a message any number of times.
        self._unsent: dict[str, None] = {}
        self._up_to: str | None = None

    def subscribed(self, hello: Hello) -> None:
        """Queue the last acknowledgements again, unless the hub reports that it has them.

        A hub that has lost the cursor or the group, perhaps with its log, creates it where it was: at `since`.
        """
        self.since = hello.last_id or self.since
        if hello.generation is None:
            # A hub of version 1.0 does not say whether it has been moved.
            self._acked.clear()
        elif self._generation not in (None, hello.generation):
            self._forget()
        self._generation = hello.generation
        if self._up_to not in (None, hello.position):
            self._unsent = {self._up_to: None}
        if self._each:
            last = [id for id in islice(reversed(self._acked), REPEATED) if id > (hello.position or "")]
            self._unsent = dict.fromkeys([*reversed(last), *self._unsent])

    def accept(self, item: Message | Gap | Heartbeat) -> bool:
        """Record an item; False for a heartbeat, and for a message that was received on an earlier connection."""
        if not isinstance(item, Message):
            return isinstance(item, Gap)
        if self._acked.get(item.id) == item.time_us:
            self._queue(item.id)
            return False
        if self._in_hand.get(item.id) == item.time_us:
            return False
        # Times never decrease in the order of ids: what was received before was lost with the log that had it.
        if item.id <= self._newest[0] and item.time_us > self._newest[1]:
            self._forget()
        self._newest = max(self._newest, (item.id, item.time_us))
        self._in_hand[item.id] = item.time_us
        return True

    def done(self, id: str) -> None:
        """Record that a message is done; does nothing if it is not in hand."""
        if id not in self._in_hand:
            return
        if self._each:
            self._acknowledge(id)
            return
        self._done.add(id)
        while self._in_hand and (first := next(iter(self._in_hand))) in self._done:
            self._done.remove(first)
            self._acknowledge(first)
            self._up_to = self.since = first

    def take_ack(self) -> str | None:
        """One frame with acknowledgements not taken yet, or None."""
        if not self._unsent:
            return None
        ids = list(islice(self._unsent, MAX_UNACKED))
        for id in ids:
            del self._unsent[id]
        return format_ack(each=ids) if self._each else format_ack(up_to=ids[0])

    def _acknowledge(self, id: str) -> None:
        self._acked[id] = self._in_hand.pop(id)
        if len(self._acked) > MAX_ACKED:
            self._acked.popitem(last=False)
        self._queue(id)

    def _queue(self, id: str) -> None:
        if not self._each:
            self._unsent.clear()
        self._unsent[id] = None

    def _forget(self) -> None:
        self._up_to = None
        self._newest = ("", 0)
        for ids in (self._in_hand, self._done, self._acked, self._unsent):
            ids.clear()


def _is_duration(text: str) -> bool:
    try:
        parse_duration(text)
    except ValueError:
        return False
    return True
