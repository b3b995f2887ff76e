"""One group and its members: each message is leased to a member, until it is acknowledged."""

from collections.abc import Sequence
from dataclasses import replace

import trio

from ..errors import Ended, Refused, Unavailable
from ..protocol.message import Gap, format_id
from ..protocol.subscribe import SubscribeRequest
from ..protocol.websocket import TRY_AGAIN_LATER
from .broker import Start, Subscription
from .channels import Entry
from .claims import Claim
from .cursors import read_position, take_page
from .leases import LeaseHolder, Leases
from .positions import ConsumerState, Positions

BATCH = 64  # messages for one member at a time, so that the others get theirs
MAX_WAITING = 10_000  # messages that wait behind others of their topics


class Group:
    """A group with members, as long as it has any. Made by `Groups.open`."""

    def __init__(
        self,
        positions: Positions,
        state: ConsumerState,
        claim: Claim,
        leases: Leases,
        gap: Gap | None,
        request: SubscribeRequest,
    ) -> None:
        self.state = state
        self.claim = claim
        self.leases = leases
        self.by_topic = request.by_topic
        self.members: set[Member] = set()
        self._positions = positions
        self._broker = positions.broker
        self._wanted = request.wanted
        self._subscription: Subscription | None = None
        self._entries: dict[int, Entry] = {}
        """The page that was read last, as far as it was not sent."""
        self._gap = gap
        """Told to each member, until one of them acknowledges what comes after it."""
        self._demand = trio.Event()
        self._reading = trio.CancelScope()
        claim.skip_unwanted = self.skip_unwanted

    async def read_on_demand(self) -> None:
        """Read what the members ask for, until the group is stopped or revoked."""
        try:
            with self._reading:
                await self.claim.work(self._read_on_demand)
        except Unavailable as error:
            self._positions.claims.revoke(self.state.id, Ended(TRY_AGAIN_LATER, str(error)))
        except Ended:
            pass  # the members are told

    def stop(self) -> None:
        """End the group after its last member has left."""
        self.skip_unwanted()
        self._reading.cancel()
        self._positions.release(self.claim)

    def join(self, request: SubscribeRequest) -> "Member":
        """Add a member."""
        member = Member(self, request, format_id(self._broker.log.epoch, self.leases.floor))
        self.members.add(member)
        self.leases.join(member.holder)
        if self._gap:
            member.tell(self._gap)
        return member

    def leave(self, member: "Member") -> None:
        """Remove a member; what it has not acknowledged is for others."""
        self.members.discard(member)
        self.leases.leave(member.holder)
        self._grant()

    def ask(self, holder: LeaseHolder) -> None:
        """Let a member wait for messages."""
        self.leases.ask(holder, BATCH)
        self._grant()

    async def fetch(self, holder: LeaseHolder) -> Sequence[Entry | Gap]:
        """The messages that a member was given; none, if it is late. Raises `Unavailable`; cancelling loses nothing."""
        positions = tuple(holder.given)
        entries = await self._load(positions)
        fetched: list[Entry | Gap] = []
        for position in positions:
            redelivered = self.leases.send(holder, position, trio.current_time())
            if redelivered is not None:
                fetched.append(self._fetched(position, entries.get(position), redelivered))
        return fetched

    def ack(self, ids: Sequence[object]) -> None:
        """Acknowledge messages; raises `Refused`, and then none is acknowledged."""
        positions = [read_position(id, self._broker.log.epoch) for id in ids]
        if not all(map(self.leases.was_sent, positions)):
            raise Refused("an ack is of what was sent, one of these messages was not sent yet")
        if positions and not self.claim.ended:
            for position in positions:
                self.leases.ack(position)
            self._gap = None
            self._positions.advance(self.state, self.leases.floor, soon=True)
            self._grant()

    def expire(self) -> None:
        """End overdue leases; others get their messages."""
        if self.leases.expire(trio.current_time()):
            self._grant()

    def skip_unwanted(self) -> int:
        """Move over what is not of the group's subscription; the position up to which all is acknowledged."""
        if self._subscription and not self._gap:
            self.leases.reached = max(self.leases.reached, self._subscription.skip_unwanted())
            self._positions.advance(self.state, self.leases.floor)
        return self.leases.floor

    async def _read_on_demand(self) -> None:
        with self._broker.subscribe(self._wanted, Start(self.leases.reached)) as subscription:
            self._subscription = subscription
            while True:
                await self._demand.wait()
                self._demand = trio.Event()
                self._add(await take_page(subscription))

    def _add(self, items: Sequence[Entry | Gap]) -> None:
        self._entries = {item.position: item for item in items if isinstance(item, Entry)}
        for item in items:
            if isinstance(item, Entry):
                self.leases.add(item.position, item.message.topic if self.by_topic else item.position)
            else:
                self._gap = item
                for member in self.members:
                    member.tell(item)
        self._grant()

    def _grant(self) -> None:
        self.leases.grant(trio.current_time())
        if self.leases.has_demand and self.leases.waiting < MAX_WAITING:
            self._demand.set()

    async def _load(self, positions: Sequence[int]) -> dict[int, Entry]:
        entries = {position: self._entries[position] for position in positions if position in self._entries}
        missing = sorted(set(positions) - entries.keys())
        while missing:
            page, reached = await self._broker.read(self._wanted, after=missing[0] - 1)
            entries.update((entry.position, entry) for entry in page)
            missing = [position for position in missing[1:] if position > reached]
        return entries

    def _fetched(self, position: int, entry: Entry | None, redelivered: bool) -> Entry | Gap:
        if entry is None:  # retention was faster than its member
            self.leases.ack(position)
            epoch = self._broker.log.epoch
            after = format_id(epoch, position - 1) if position > 1 else None
            return Gap("retention", after, format_id(epoch, position + 1))
        self._entries.pop(position, None)
        return Entry(replace(entry.message, redelivered=True), position) if redelivered else entry


class Member:
    """A connection that is a member of a group: one task takes, another may acknowledge. Made by `Groups.open`."""

    def __init__(self, group: Group, request: SubscribeRequest, position: str) -> None:
        self.holder = LeaseHolder(request.max_unacked, request.ack_timeout_s, self._wake)
        self.hello = {"group": request.group, "position": position}
        """Name and position, for the first object of the connection."""
        self._group = group
        self._gap: Gap | None = None
        self._news = trio.Event()

    async def take(self) -> Sequence[Entry | Gap]:
        """The next messages leased to this member, as soon as there are any; cancelling loses nothing.

        Raises `Ended` and `Unavailable`.
        """
        return await self._group.claim.work(self._take)

    def skip_unwanted(self) -> int:
        """The position up to which the group has acknowledged everything."""
        return self._group.skip_unwanted()

    def ack(self, received: object) -> None:
        """Acknowledge messages, as a JSON value names them; raises `Refused`, and then nothing changes.

        A message whose lease has ended, and that perhaps another member has now, is acknowledged all the same.
        """
        match received:
            case {"type": "ack", "ids": [*ids]}:
                self._group.ack(ids)
            case _:
                raise Refused('the messages of a group are acknowledged by {"type": "ack", "ids": ["...", "..."]}')

    def tell(self, gap: Gap) -> None:
        """Put a gap before the next message."""
        self._gap = Gap(gap.reason, self._gap.after, gap.before) if self._gap else gap
        self._wake()

    async def _take(self) -> Sequence[Entry | Gap]:
        while True:
            if self._gap:
                gap, self._gap = self._gap, None
                return [gap]
            if self.holder.given:
                if fetched := await self._group.fetch(self.holder):
                    return fetched
            else:
                await self._wait()

    async def _wait(self) -> None:
        self._news = trio.Event()
        self._group.ask(self.holder)
        try:
            await self._news.wait()
        finally:
            self._group.leases.ask(self.holder, 0)

    def _wake(self) -> None:
        self._news.set()
