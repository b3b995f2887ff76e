"""Leases: which member of a group has which message, and until when. Pure: the time is passed in.

Every message that is not acknowledged lies in a lane, and a lane has at most one holder. By default each message has
a lane to itself; where a group is ordered by topic, all messages of a topic share one. What lies in a lane is given out
in order, and only to its holder, as long as that one has not acknowledged all that it was given of it.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import islice


@dataclass(slots=True, eq=False)
class LeaseHolder:
    """A member of a group, as the leases see it: at most `room` messages, each to be acknowledged within `timeout_s`.

    `wake` is called when it was given something it has asked for.
    """

    room: int
    timeout_s: float
    wake: Callable[[], object]
    given: dict[int, None] = field(default_factory=dict)
    """Messages that it was given and has not fetched yet."""
    asked: int = 0
    leased: "OrderedDict[int, _Item]" = field(default_factory=OrderedDict)
    """In the order in which the leases end."""
    reserved: "dict[_Lane, None]" = field(default_factory=dict)
    """Lanes that it holds, with messages that it was not given yet."""

    @property
    def wants(self) -> int:
        """Messages that it can be given now, as a number."""
        return min(self.asked - len(self.given), self.room - len(self.leased))


@dataclass(slots=True, eq=False)
class _Lane:
    key: Hashable
    holder: LeaseHolder | None = None
    leased: "dict[int, _Item]" = field(default_factory=dict)
    waiting: list[int] = field(default_factory=list)
    """A heap. May begin with messages that were acknowledged late."""
    listed: int = 0
    """Its message in the heap of free lanes; 0 if it is not in there."""


@dataclass(slots=True, eq=False)
class _Item:
    position: int
    lane: _Lane
    holder: LeaseHolder | None = None
    deadline: float = 0
    sent: bool = False
    failed: LeaseHolder | None = None
    """The holder that let its lease end."""


class Leases:
    """All messages after a floor that are not acknowledged."""

    def __init__(self, after: int) -> None:
        self.reached = after
        """Everything up to here was added."""
        self._items: OrderedDict[int, _Item] = OrderedDict()
        self._lanes: dict[Hashable, _Lane] = {}
        self._free: list[int] = []
        self._holders: dict[LeaseHolder, None] = {}
        self._asking: OrderedDict[LeaseHolder, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._items)

    @property
    def floor(self) -> int:
        """Everything up to here is acknowledged."""
        return next(iter(self._items)) - 1 if self._items else self.reached

    @property
    def has_demand(self) -> bool:
        """Whether a holder asks for more than there is."""
        return bool(self._asking)

    @property
    def waiting(self) -> int:
        """The number of messages without a holder."""
        return len(self._items) - sum(len(holder.leased) for holder in self._holders)

    def add(self, position: int, lane: Hashable) -> None:
        """Add a message after all others."""
        its_lane = self._lanes.get(lane)
        if its_lane is None:
            its_lane = self._lanes[lane] = _Lane(lane)
        self._items[position] = _Item(position, its_lane)
        self.reached = position
        heappush(its_lane.waiting, position)
        self._sort(its_lane)

    def join(self, holder: LeaseHolder) -> None:
        """Add a member."""
        self._holders[holder] = None

    def leave(self, holder: LeaseHolder) -> None:
        """Remove a member; what it has is for others."""
        self.ask(holder, 0)
        for item in tuple(holder.leased.values()):
            self._give_back(item)
        self._holders.pop(holder, None)

    def ask(self, holder: LeaseHolder, count: int) -> None:
        """Let a member wait for up to `count` messages, all in all; 0: it does not wait any more."""
        holder.asked = count
        self._queue(holder)

    def grant(self, now: float) -> None:
        """Lease what there is to those who ask: in the order of the log, to one after the other in turn."""
        for holder in [holder for holder in self._asking if holder.reserved]:
            self._grant_reserved(holder, now)
        while self._asking and (item := self._first_free()):
            holder = next((holder for holder in self._asking if holder is not item.failed), next(iter(self._asking)))
            self._asking.move_to_end(holder)
            self._lease(item.lane, holder, now)
            self._grant_reserved(holder, now)

    def send(self, holder: LeaseHolder, position: int, now: float) -> bool | None:
        """Start the time of a message that its holder sends to its client now.

        Returns whether it was sent to somebody before; None if the lease is no longer the holder's.
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
        """Whether a message was sent to somebody, or is acknowledged."""
        item = self._items.get(position)
        return item.sent if item else position <= self.reached

    def ack(self, position: int) -> None:
        """Acknowledge a message, whoever does; a second time changes nothing."""
        item = self._items.pop(position, None)
        if item:
            self._take_back(item)
            self._sort(item.lane)

    def expire(self, now: float) -> bool:
        """Take back what was not acknowledged in time, with the rest of its lane; whether there was any."""
        ended = False
        for holder in self._holders:
            while holder.leased and (item := next(iter(holder.leased.values()))).deadline <= now:
                ended = True
                for one in tuple(item.lane.leased.values()):
                    one.failed = holder
                    self._give_back(one)
        return ended

    def remembered(self, limit: int) -> "Leases":
        """The same without members, and without what comes after the oldest `limit` messages."""
        leases = Leases(self.floor)
        for item in islice(self._items.values(), limit):
            leases.add(item.position, item.lane.key)
            leases._items[item.position].sent = item.sent
        if len(self._items) <= limit:
            leases.reached = self.reached
        return leases

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
        """Put a lane where it belongs now: with its holder, among the free ones, or away."""
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
        """The oldest message that anybody may have; its lane is no longer listed."""
        while self._free:
            position = heappop(self._free)
            item = self._items.get(position)
            if item and item.lane.listed == position:
                item.lane.listed = 0
                return item
        return None
