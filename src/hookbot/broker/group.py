"""One group and its members: each message is leased to one member after another until it is acknowledged."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import trio

from ..errors import Ended, Refused, Unavailable
from ..protocol.message import Gap, format_id
from ..protocol.subscribe import SubscribeRequest
from ..protocol.websocket import TRY_AGAIN_LATER
from .broker import Subscription
from .channels import Entry
from .claims import Claim
from .consumer_state import ConsumerState
from .cursors import read_position
from .leases import LeaseHolder, Leases
from .positions import Positions
from .starts import Start

# Messages granted to a member at a time: few enough for the others to get a share of a page.
BATCH = 64
# Messages known to have been sent before, while a group has no members: the others are not marked as redelivered.
MAX_SENT = 1000


class Group:
    """A group for as long as it has members. Made by `Groups.open`."""

    def __init__(
        self,
        positions: Positions,
        state: ConsumerState,
        claim: Claim,
        leases: Leases,
        start: Start,
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
        """Entries of the last page read that have not been sent, except large ones."""
        self._told = start.told
        self._gap = start.gap
        """Gap sent to each member that joins, until any member acknowledges a message."""
        self._demand = trio.Event()
        self._reading = trio.CancelScope()
        claim.skip_unwanted = self.skip_unwanted
        claim.unacked = leases.count_unacked
        state.acked = leases.acked

    async def read_on_demand(self) -> None:
        """Read messages from the log on the demand of members, until the group is stopped or revoked.

        If the log cannot be read, the group is revoked.
        """
        try:
            with self._reading:
                await self.claim.work(self._read_on_demand)
        except Unavailable as error:
            self._positions.claims.revoke(self.state.id, Ended(TRY_AGAIN_LATER, str(error)))
        except Ended:
            # Each member's `take` raises the same.
            pass

    def stop(self) -> None:
        """End the group after its last member has left."""
        self.skip_unwanted()
        self._reading.cancel()
        self._positions.release(self.claim)

    def rest(self) -> None:
        """Leave to the state what the next members have to know, in place of the leases, which take more memory."""
        self.state.acked = partial(tuple, self.leases.acked())
        self.state.sent_unacked = self.leases.sent(MAX_SENT)

    def join(self, request: SubscribeRequest) -> "Member":
        """Add a member for a connection."""
        member = Member(self, request, format_id(self._broker.log.epoch, self.leases.floor))
        self.members.add(member)
        self.leases.join(member.holder)
        if self._gap:
            member.tell(self._gap)
        return member

    def leave(self, member: "Member") -> None:
        """Remove a member; the messages it has not acknowledged are leased to others."""
        self.members.discard(member)
        self.leases.leave(member.holder)
        self._grant()

    def ask(self, holder: LeaseHolder) -> None:
        """Queue a member for up to `BATCH` messages, and lease it those that are available."""
        self.leases.ask(holder, BATCH)
        self._grant()

    def reads_log(self, holder: LeaseHolder) -> bool:
        """True if `fetch` has to read messages from the log."""
        return any(position not in self._entries for position in holder.given)

    async def fetch(self, holder: LeaseHolder) -> Sequence[Entry | Gap]:
        """Messages given to a member and not sent yet, at most a page, and a gap for each that is lost.

        Empty if its leases have ended meanwhile, or somebody has deleted the messages. Raises `Unavailable` if the log
        cannot be read; cancelling loses nothing.
        """
        items = await self._load(tuple(holder.given))
        self.state.sent = max((self.state.sent, *items))
        fetched: list[Entry | Gap] = []
        for position, item in items.items():
            redelivered = self.leases.send(holder, position, trio.current_time())
            if redelivered is not None:
                fetched += self._fetched(position, item, redelivered)
        return fetched

    def ack(self, ids: Sequence[object]) -> None:
        """Acknowledge messages. Raises `Refused` if one was not sent or has an invalid id; then none is acknowledged.

        Ignored after the group has been revoked.
        """
        positions = [read_position(id, self._broker.log.epoch) for id in ids]
        for id, position in zip(ids, positions, strict=True):
            if not self.leases.was_sent(position):
                raise Refused(f"the message {id!r} has not been sent yet; acknowledge only messages that were received")
        if positions and not self.claim.ended:
            for position in positions:
                self.leases.ack(position)
            self._gap = None
            self._positions.advance(self.state, self.leases.floor)
            self._positions.save_soon(self.state)
            self._grant()

    def expire(self) -> None:
        """End overdue leases, and lease their messages again, to other members if any are waiting."""
        if self.leases.expire(trio.current_time()):
            self._grant()

    def skip_unwanted(self) -> int:
        """Move past messages of other topics, and return the position up to which everything is acknowledged."""
        if self._subscription and not (self._gap or self.claim.ended):
            self.leases.reached = max(self.leases.reached, self._subscription.skip_unwanted())
            self._positions.advance(self.state, self.leases.floor)
        return self.leases.floor

    async def _read_on_demand(self) -> None:
        with (
            self._broker.subscribe(self._wanted, Start(self.leases.reached, told=self._told)) as subscription,
            self._broker.deletions.told_to(self._forget),
        ):
            self._subscription = subscription
            while True:
                await self._demand.wait()
                self._demand = trio.Event()
                subscription.position = self.leases.skip_acked(subscription.position)
                self._add(await subscription.take())

    def _add(self, items: Sequence[Entry | Gap]) -> None:
        # A large message is rather read again than kept for a member that may not come.
        self._entries = {item.position: item for item in items if isinstance(item, Entry) and not item.is_large}
        for item in items:
            if isinstance(item, Entry):
                self.leases.add(item.position, item.message.topic if self.by_topic else item.position)
            else:
                self._gap = item
                for member in self.members:
                    member.tell(item)
        self._grant()

    def _forget(self, _: object) -> None:
        """Drop what may have been deleted: it is read again for whoever takes it."""
        self._entries = {}

    def _grant(self) -> None:
        self.leases.grant(trio.current_time())
        if self.leases.has_demand and self.leases.waiting < self._broker.limits.group_backlog:
            self._demand.set()

    async def _load(self, positions: Sequence[int]) -> dict[int, Entry | Gap | None]:
        """The oldest of these messages, about a page: a gap for each that is lost, and None if somebody deleted it."""
        items: dict[int, Entry | Gap | None] = {}
        found: dict[int, Entry] = {}
        size = reached = 0
        reason = ""
        for position in sorted(positions):
            entry = self._entries.get(position)
            if entry is None and position > reached:
                page, reached = await self._broker.read(self._wanted, after=position - 1)
                found = {item.position: item for item in page if isinstance(item, Entry)}
                reason = next((item.reason for item in page if isinstance(item, Gap)), "")
            entry = entry or found.get(position)
            items[position] = entry or self._gap_at(position, reason)
            size += entry.message.size if entry else 0
            if size > self._broker.limits.page_bytes:
                break
        return items

    def _gap_at(self, position: int, reason: str) -> Gap | None:
        if not reason and position <= self._broker.log.lost_up_to(self._wanted):
            reason = "retention"
        return Gap.between(reason, self._broker.log.epoch, position - 1, position) if reason else None

    def _fetched(self, position: int, item: Entry | Gap | None, redelivered: bool) -> Sequence[Entry | Gap]:
        # A message that is lost or deleted counts as acknowledged, and the member is sent a gap in place of a lost one.
        if not isinstance(item, Entry):
            self.leases.ack(position)
            return [item] if item else []
        self._entries.pop(position, None)
        return [Entry(replace(item.message, redelivered=True), position, item.cache) if redelivered else item]


class Member:
    """Consumer that is a member of a group: one task takes, another may acknowledge. Made by `Groups.open`."""

    def __init__(self, group: Group, request: SubscribeRequest, position: str) -> None:
        self.holder = LeaseHolder(request.max_unacked, request.ack_timeout_s, self._wake)
        self.hello = {"group": request.group, "position": position, "generation": group.state.generation}
        """Name and position, for the first object of the connection."""
        self._group = group
        self._gap: Gap | None = None
        self._news = trio.Event()

    @property
    def is_behind(self) -> bool:
        """True if `take` reads messages that it was given from the log."""
        return bool(self.holder.given) and self._group.reads_log(self.holder)

    async def take(self) -> Sequence[Entry | Gap]:
        """Next messages leased to this member, or a gap, as soon as there are any; cancelling loses nothing.

        Empty if they then have to be read from the log, or if their leases have ended meanwhile. Raises `Ended` if the
        group is revoked, and `Unavailable` if the log cannot be read.
        """
        return await self._group.claim.work(self._take)

    def skip_unwanted(self) -> int:
        """Position up to which the group has acknowledged everything."""
        return self._group.skip_unwanted()

    def ack(self, received: object) -> None:
        """Acknowledge the messages that a JSON value names.

        Raises `Refused` if it is not an acknowledgement or one of them was not sent yet, and then nothing changes. A
        message whose lease has ended is acknowledged all the same, even if another member has it now.
        """
        match received:
            case {"type": "ack", "ids": [*ids]}:
                self._group.ack(ids)
            case _:
                raise Refused('not an acknowledgement for a group; send {"type": "ack", "ids": ["...", "..."]}')

    def tell(self, gap: Gap) -> None:
        """Send a gap before the next message, merged with the previous gap if that has not been sent yet."""
        self._gap = Gap(gap.reason, self._gap.after, gap.before) if self._gap else gap
        self._wake()

    async def _take(self) -> Sequence[Entry | Gap]:
        if not (self._gap or self.holder.given):
            await self._wait()
            if self.is_behind:
                return []
        if self._gap:
            gap, self._gap = self._gap, None
            return [gap]
        return await self._group.fetch(self.holder)

    async def _wait(self) -> None:
        self._news = trio.Event()
        self._group.ask(self.holder)
        try:
            await self._news.wait()
        finally:
            # A member that does not wait is granted no messages: their leases would run although it takes none.
            self._group.leases.ask(self.holder, 0)

    def _wake(self) -> None:
        self._news.set()
