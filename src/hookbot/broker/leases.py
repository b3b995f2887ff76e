"""Leases: the messages of a group that each member holds, and their deadlines. Pure: the time is passed in.

Every unacknowledged message is in a lane, and a lane has at most one holder. By default each message has a lane of its
own; in a group ordered by topic, all messages of a topic share one. The messages of a lane are leased in order, and
only to its holder for as long as that member has a lease in the lane.
"""

from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import chain, islice, takewhile

from .acked_ahead import MAX_RANGES, AckedAhead, Range


@dataclass(slots=True, eq=False)
class LeaseHolder:
    """A member's side of its leases: at most `room` messages at a time, each to be acknowledged within `timeout_s`.

    `wake` is called for each message that it is given.
    """

    room: int
    timeout_s: float
    wake: Callable[[], object]
    given: dict[int, None] = field(default_factory=dict)
    """Positions of messages that it was given and has not sent yet."""
    asked: int = 0
    """Number of messages that it waits for, including those in `given`."""
    leased: "OrderedDict[int, _Item]" = field(default_factory=OrderedDict)
    """All messages leased to it, in the order of their deadlines."""
    reserved: "dict[_Lane, None]" = field(default_factory=dict)
    """Lanes that it holds and that have messages not leased yet."""

    @property
    def wants(self) -> int:
        """Number of messages that it can be given now; 0 or less if none."""
        return min(self.asked - len(self.given), self.room - len(self.leased))


@dataclass(slots=True, eq=False)
class _Lane:
    key: Hashable
    holder: LeaseHolder | None = None
    leased: "dict[int, _Item]" = field(default_factory=dict)
    waiting: list[int] = field(default_factory=list)
    """Heap of positions. Messages acknowledged after their lease had ended stay in it until they are the first."""
    listed: int = 0
    """Position that represents it in the heap of free lanes; 0 if it is not in the heap."""


@dataclass(slots=True, eq=False)
class _Item:
    position: int
    lane: _Lane
    holder: LeaseHolder | None = None
    deadline: float = 0
    sent: bool = False
    failed: LeaseHolder | None = None
    """Last holder whose lease of it has expired; it is leased to another one if any is in line."""


class Leases:
    """All unacknowledged messages of a group after a floor.

    From the time before, when the group had other members: `acked` are ranges that are acknowledged, `sent` positions
    that were sent to a client and are not, and up to `received` clients may still acknowledge what they received.
    """

    def __init__(
        self, after: int, *, acked: Iterable[Range] = (), sent: Collection[int] = (), received: int = 0
    ) -> None:
        self.reached = after
        """Position up to which the log has been read for the group."""
        self._ahead = AckedAhead(acked)
        self._newest_acked = self._ahead.newest
        self._sent_before = sent
        self._received = received
        self._items: OrderedDict[int, _Item] = OrderedDict()
        self._lanes: dict[Hashable, _Lane] = {}
        self._free: list[int] = []
        """Heap of the first position in each free lane. Outdated positions stay, and are skipped when they are popped:
        to remove one from the middle of a heap is expensive."""
        self._holders: dict[LeaseHolder, None] = {}
        self._asking: OrderedDict[LeaseHolder, None] = OrderedDict()
        """Holders that can be given messages, the one served longest ago first."""

    def __len__(self) -> int:
        return len(self._items)

    @property
    def floor(self) -> int:
        """Position up to which everything is acknowledged."""
        return next(iter(self._items)) - 1 if self._items else self.reached

    @property
    def has_demand(self) -> bool:
        """True if a holder in line can be given more messages."""
        return bool(self._asking)

    @property
    def waiting(self) -> int:
        """Number of messages without a holder."""
        return len(self._items) - sum(len(holder.leased) for holder in self._holders)

    def add(self, position: int, lane: Hashable) -> None:
        """Add a message, newer than all others, to the lane with this key, unless it is acknowledged already."""
        self.reached = position
        if self._ahead.end_of(position):
            return
        its_lane = self._lanes.get(lane)
        if its_lane is None:
            its_lane = self._lanes[lane] = _Lane(lane)
        self._items[position] = _Item(position, its_lane, sent=position in self._sent_before)
        heappush(its_lane.waiting, position)
        self._sort(its_lane)

    def join(self, holder: LeaseHolder) -> None:
        """Add a holder."""
        self._holders[holder] = None

    def leave(self, holder: LeaseHolder) -> None:
        """Remove a holder; its messages can be leased to others."""
        self.ask(holder, 0)
        for item in tuple(holder.leased.values()):
            self._give_back(item)
        self._holders.pop(holder, None)

    def ask(self, holder: LeaseHolder, count: int) -> None:
        """Put a holder in line for up to `count` messages in total; 0 takes it out of the line."""
        holder.asked = count
        self._queue(holder)

    def grant(self, now: float) -> None:
        """Lease waiting messages to waiting holders in turn: reserved lanes first, then the oldest.

        A message whose lease has expired goes to another holder, if one waits.
        """
        # Reserved lanes first: no other holder may have their messages, and they count towards the number that their
        # holders wait for.
        for holder in [holder for holder in self._asking if holder.reserved]:
            self._grant_reserved(holder, now)
        while self._asking and (item := self._first_free()):
            holder = next((holder for holder in self._asking if holder is not item.failed), next(iter(self._asking)))
            self._asking.move_to_end(holder)
            self._lease(item.lane, holder, now)
            self._grant_reserved(holder, now)

    def send(self, holder: LeaseHolder, position: int, now: float) -> bool | None:
        """Start the timeout of a message that its holder sends to its client now.

        Returns True if it was sent to a client before, False if not, None if the holder no longer has the lease.
        """
        holder.given.pop(position, None)
        item = self._items.get(position)
        if item is None or item.holder is not holder:
            return None
        item.deadline = now + holder.timeout_s
        holder.leased.move_to_end(position)
        before, item.sent = item.sent, True
        return before

    def was_sent(self, position: int) -> bool:
        """True if a message may have been sent to a client or is acknowledged; also for other topics."""
        item = self._items.get(position)
        return position <= self._received or (item.sent if item else position <= self.reached)

    def ack(self, position: int) -> None:
        """Acknowledge a message, whoever holds it; a second time changes nothing."""
        item = self._items.pop(position, None)
        if item:
            self._take_back(item)
            self._sort(item.lane)
        elif position > self.reached:
            self._ahead.add(position)
        self._newest_acked = max(self._newest_acked, position)

    def acked(self) -> Sequence[Range]:
        """The oldest `MAX_RANGES` ranges after the floor that are acknowledged, with what is of other topics there."""
        ranges: list[Range] = []
        before = self.floor
        end = min(self._newest_acked, self.reached)
        for position in chain(takewhile(end.__ge__, self._items), (end + 1,)):
            if position > before + 1:
                ranges.append((before + 1, position - 1))
            before = position
        return [*ranges, *self._ahead.after(self.reached)][:MAX_RANGES]

    def skip_acked(self, position: int) -> int:
        """Position up to which everything is acknowledged after one that the log is read up to; counts as read."""
        end = self._ahead.end_of(position + 1) or position
        if end > position:
            self.reached = end
        return end

    def expire(self, now: float) -> bool:
        """End overdue leases, and the others of their lanes, so that the order is kept. True if there were any."""
        ended = False
        for holder in self._holders:
            while holder.leased and (item := next(iter(holder.leased.values()))).deadline <= now:
                ended = True
                for one in tuple(item.lane.leased.values()):
                    one.failed = holder
                    self._give_back(one)
        return ended

    def count_unacked(self) -> int:
        """Number of messages that were sent to a client and are not acknowledged."""
        return sum(item.sent for item in self._items.values())

    def sent(self, limit: int) -> Collection[int]:
        """Positions of the oldest `limit` messages that were sent to a client and are not acknowledged."""
        return frozenset(islice((position for position, item in self._items.items() if item.sent), limit))

    def _lease(self, lane: _Lane, holder: LeaseHolder, now: float) -> None:
        item = self._items[heappop(lane.waiting)]
        item.holder, item.deadline = holder, now + holder.timeout_s
        lane.holder = holder
        lane.leased[item.position] = holder.leased[item.position] = item
        holder.given[item.position] = None
        self._sort(lane)
        self._queue(holder)
        holder.wake()

    def _grant_reserved(self, holder: LeaseHolder, now: float) -> None:
        while holder.reserved and holder.wants > 0:
            self._lease(next(iter(holder.reserved)), holder, now)

    def _give_back(self, item: _Item) -> None:
        self._take_back(item)
        heappush(item.lane.waiting, item.position)
        self._sort(item.lane)

    def _take_back(self, item: _Item) -> None:
        if holder := item.holder:
            item.holder = None
            del item.lane.leased[item.position], holder.leased[item.position]
            holder.given.pop(item.position, None)
            self._queue(holder)

    def _queue(self, holder: LeaseHolder) -> None:
        if holder.wants > 0:
            self._asking.setdefault(holder)
        else:
            self._asking.pop(holder, None)

    def _sort(self, lane: _Lane) -> None:
        """List a lane as reserved by its holder or as free, or delete it if it is empty."""
        while lane.waiting and lane.waiting[0] not in self._items:
            heappop(lane.waiting)
        if lane.holder and not (lane.leased and lane.waiting):
            lane.holder.reserved.pop(lane, None)
        if not lane.leased:
            lane.holder = None
        if lane.holder and lane.waiting:
            lane.holder.reserved[lane] = None
        elif lane.waiting and lane.listed != lane.waiting[0]:
            lane.listed = lane.waiting[0]
            heappush(self._free, lane.listed)
        elif not lane.leased and not lane.waiting:
            del self._lanes[lane.key]

    def _first_free(self) -> _Item | None:
        """Oldest message that any holder may be given, or None; its lane is taken out of the heap."""
        while self._free:
            position = heappop(self._free)
            item = self._items.get(position)
            if item and item.lane.listed == position:
                item.lane.listed = 0
                return item
        return None
