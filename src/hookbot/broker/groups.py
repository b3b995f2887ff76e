"""Groups: several connections share one position, and each message is leased to one of them.

Memory holds the state of each message from the oldest unacknowledged one to the newest one read (`leases.py`); the log
stores the position before the oldest, and which messages beyond it are acknowledged.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from ..errors import Refused
from ..protocol.subscribe import SubscribeRequest
from .claims import ConsumerId
from .group import Group, Member
from .leases import Leases
from .positions import Positions

# `ack_timeout` is in whole seconds: a lease ends at most one second late.
TICK_S = 1.0


class Groups:
    """All groups that have members. `run` ends their overdue leases."""

    def __init__(self, positions: Positions, nursery: trio.Nursery) -> None:
        self._positions = positions
        self._nursery = nursery
        self._groups: dict[ConsumerId, Group] = {}
        self._opening = trio.Lock()

    def check_order(self, request: SubscribeRequest) -> None:
        """Raise `Refused` if the group has members that use another order (``key=topic``, or none)."""
        group = self._groups.get(ConsumerId.of(request))
        if group and not group.claim.ended and group.by_topic != request.by_topic:
            ordered = "with" if group.by_topic else "without"
            raise Refused(f"the other members of the group {request.group} subscribed {ordered} key=topic; do the same")

    @asynccontextmanager
    async def open(self, request: SubscribeRequest) -> AsyncIterator[Member]:
        """Membership of a group until the block ends. The position of a new group is saved on entry.

        Entering raises `Refused` if the path has too many cursors and groups or the members use another order,
        `Unavailable` if the log fails, and `Ended` if the group is moved or deleted meanwhile.
        """
        # Locked: two first members at the same moment would each start the group.
        async with self._opening:
            group = await self._find_or_start(request)
        member = group.join(request)
        try:
            yield member
        finally:
            group.leave(member)
            if not group.members:
                self._stop(group)

    async def run(self) -> None:
        """End overdue leases, until cancelled."""
        while True:
            await trio.sleep(TICK_S)
            for group in self._groups.values():
                group.expire()

    async def _find_or_start(self, request: SubscribeRequest) -> Group:
        self.check_order(request)
        group = self._groups.get(ConsumerId.of(request))
        return await self._start(request) if group is None or group.claim.ended else group

    async def _start(self, request: SubscribeRequest) -> Group:
        id = ConsumerId.of(request)
        claim = self._positions.claims.acquire(id)
        try:
            state, start = await self._positions.restore(id, request.since)
            claim.raise_if_ended()
        except BaseException:
            self._positions.release(claim)
            raise
        leases = Leases(start.position, acked=state.acked(), sent=state.sent_unacked, received=state.sent)
        state.sent_unacked = ()
        group = self._groups[id] = Group(self._positions, state, claim, leases, start, request)
        self._nursery.start_soon(group.read_on_demand)
        return group

    def _stop(self, group: Group) -> None:
        group.stop()
        if self._groups.get(group.state.id) is group:
            del self._groups[group.state.id]
            group.rest()
