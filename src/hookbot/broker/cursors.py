"""Cursors: subscriptions that resume after the last message that their client has acknowledged.

One connection at a time holds the claim of a cursor. A second one waits until the first has closed, or takes over: from
that moment the first receives no messages and its acknowledgements are ignored, even if it has not noticed yet.
"""

from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import trio

from ..errors import Ended, Refused
from ..protocol.message import Gap, format_id, parse_id
from ..protocol.subscribe import SubscribeRequest
from ..protocol.websocket import GONE
from .broker import Subscription
from .channels import Entry
from .claims import Claim, ConsumerId
from .consumer_state import ConsumerState
from .positions import Positions


@asynccontextmanager
async def open_cursor(positions: Positions, request: SubscribeRequest) -> AsyncIterator["CursorConsumer"]:
    """Claim a cursor until the block ends, after waiting until it is free, or at once by a takeover.

    The position of a new cursor is saved on entry. Entering raises `Refused` if the path has too many cursors and
    groups, `Unavailable` if the log fails, and `Ended` if the claim is revoked meanwhile.
    """
    id = ConsumerId.of(request)
    if request.takeover:
        positions.claims.revoke(id, Ended(GONE, f"another connection took over the cursor {id.name}"))
    await positions.claims.until_free(id)
    claim = positions.claims.acquire(id)
    try:
        state, start = await positions.restore(id, request.since)
        claim.raise_if_ended()
        with positions.broker.subscribe(request.wanted, replace(start, gap=None)) as subscription:
            cursor = CursorConsumer(positions, state, claim, subscription, start.gap, request)
            claim.skip_unwanted = cursor.skip_unwanted
            with positions.broker.deletions.told_to(cursor.forget):
                yield cursor
            # Once more before the claim is released: after that, only a sweep moves the position past other topics.
            cursor.skip_unwanted()
    finally:
        positions.release(claim)


class CursorConsumer:
    """Consumer that holds a cursor: one task takes, another may acknowledge. Made by `open_cursor`."""

    def __init__(
        self,
        positions: Positions,
        state: ConsumerState,
        claim: Claim,
        subscription: Subscription,
        gap: Gap | None,
        request: SubscribeRequest,
    ) -> None:
        self._positions = positions
        self._state = state
        self._sent = state.position
        self._epoch = positions.broker.log.epoch
        self._claim = claim
        self._subscription = subscription
        self._ready: deque[Entry | Gap] = deque([gap] if gap else ())
        self._unacked: deque[int] = deque()
        claim.unacked = self._unacked.__len__
        # Position of the last gap sent. The cursor stays before it until a message after it is acknowledged, so that
        # the next connection is sent the gap again if this one breaks first.
        self._gap = 0
        self._max_unacked = request.max_unacked
        self._end = None if request.follow else positions.broker.head
        self._acked = trio.Event()
        position = format_id(self._epoch, state.position)
        self.hello = {"cursor": request.cursor, "position": position, "generation": state.generation}
        """Name and position, for the first object of the connection."""

    @property
    def is_behind(self) -> bool:
        """True if `take` reads the log, and waits neither for acknowledgements nor for new messages."""
        return self._subscription.is_behind and not (self._ready or self._must_wait())

    async def take(self) -> Sequence[Entry | Gap] | None:
        """Next messages, as soon as there are any and fewer than `max_unacked` are unacknowledged.

        None at the end of a subscription that does not follow, once everything is acknowledged. Empty after a wait for
        an acknowledgement, since the log may have to be read then, or if a page of the log has none. Cancelling loses
        nothing. Raises `Ended` if the claim is revoked, and `Unavailable` if the log cannot be read.
        """
        return await self._claim.work(self._take)

    def skip_unwanted(self) -> int:
        """Move past messages of other topics, and return the position up to which everything has been taken."""
        if not (self._ready or self._claim.ended):
            self._sent_up_to(self._subscription.skip_unwanted())
            if not self._unacked and self._state.position >= self._gap:
                self._positions.advance(self._state, self._sent)
        return self._sent

    def ack(self, received: object) -> None:
        """Acknowledge all messages up to the id in a JSON value. The position is saved soon.

        Raises `Refused` if it is not an acknowledgement or its message was not sent yet, and then nothing changes. An
        acknowledgement from a connection that has lost the cursor is ignored.
        """
        match received:
            case {"type": "ack", "id": id}:
                position = read_position(id, self._epoch)
            case _:
                raise Refused('not an acknowledgement for a cursor; send {"type": "ack", "id": "..."}')
        if position > self._state.sent:
            raise Refused(f"the message {id!r} has not been sent yet; acknowledge only messages that were received")
        if not self._claim.ended:
            while self._unacked and self._unacked[0] <= position:
                self._unacked.popleft()
            self._positions.advance(self._state, position, soon=True)
            self._acked.set()

    def forget(self, _: object) -> None:
        """Drop what may have been deleted before it is handed out: what is left of it is taken again."""
        if entries := [item for item in self._ready if isinstance(item, Entry)]:
            self._subscription.position = entries[0].position - 1
            self._ready = deque(item for item in self._ready if isinstance(item, Gap))

    async def _take(self) -> Sequence[Entry | Gap] | None:
        if self._must_wait():
            if not self._unacked:
                return None
            self._acked = trio.Event()
            await self._acked.wait()
            return []
        if not self._ready:
            self._ready.extend(await self._subscription.take())
        return self._hand_out(self._max_unacked - len(self._unacked))

    def _must_wait(self) -> bool:
        """True until something is acknowledged; also at the end if nothing is left to be."""
        return len(self._unacked) >= self._max_unacked or (not self._ready and self._at_end())

    def _hand_out(self, room: int) -> Sequence[Entry | Gap]:
        taken: list[Entry | Gap] = []
        while self._ready and len(taken) < room:
            item = self._ready.popleft()
            position = item.position
            if isinstance(item, Gap):
                self._gap = position
            elif position > self._state.position:
                self._unacked.append(position)
            else:
                # Acknowledged before it was sent here: the client had received it on an earlier connection.
                continue
            taken.append(item)
            self._sent_up_to(position)
        return taken

    def _sent_up_to(self, position: int) -> None:
        self._sent = max(self._sent, position)
        self._state.sent = max(self._state.sent, position)

    def _at_end(self) -> bool:
        return self._end is not None and self._subscription.skip_unwanted() >= self._end


def read_position(id: object, epoch: str) -> int:
    """Position of a message by its id; raises `Refused` if it is not an id of this log."""
    try:
        its_epoch, position = parse_id(id if isinstance(id, str) else "")
    except ValueError:
        raise Refused(f"{str(id)[:80]!r} is not the id of a message") from None
    if its_epoch != epoch:
        raise Refused(f"the id {id!r} belongs to another log; acknowledge only messages that this hub has sent")
    return position
