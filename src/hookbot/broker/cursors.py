"""Cursors: subscriptions that go on after what their clients have acknowledged.

One connection at a time has the claim of a cursor. A second one waits until the first has gone, or takes over: from
that moment on the first has nothing any more, whether it notices or not.
"""

from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import trio

from ..errors import Ended, Refused
from ..protocol.message import Gap, format_id, parse_id
from ..protocol.subscribe import SubscribeRequest
from ..protocol.websocket import GONE
from .broker import Start, Subscription
from .channels import Entry
from .claims import Claim, ConsumerId
from .page_cache import PAGE_BYTES, PAGE_MESSAGES
from .positions import ConsumerState, Positions


@asynccontextmanager
async def open_cursor(positions: Positions, request: SubscribeRequest) -> AsyncIterator["CursorConsumer"]:
    """Claim a cursor until the block ends, as soon as nobody else has it. When the block begins, it is saved.

    Raises `Refused` if its path has too many, `Unavailable` if the log fails, `Ended` if it was revoked again.
    """
    id = ConsumerId.of(request)
    if request.takeover:
        positions.claims.revoke(id, Ended(GONE, f"another connection took over the cursor {id.name}"))
    await positions.claims.until_free(id)
    claim = positions.claims.acquire(id)
    try:
        state, start = await positions.restore(id, request.since)
        claim.raise_if_ended()
        with positions.broker.subscribe(request.wanted, Start(start.position)) as subscription:
            cursor = CursorConsumer(positions, state, claim, subscription, start.gap, request)
            claim.skip_unwanted = cursor.skip_unwanted
            yield cursor
            cursor.skip_unwanted()
    finally:
        positions.release(claim)


class CursorConsumer:
    """A connection that has a cursor: one task takes, another may acknowledge. Made by `open_cursor`."""

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
        self._gap = 0  # told, and told again to the next connection unless something after it is acknowledged
        self._max_unacked = request.max_unacked
        self._end = None if request.follow else positions.broker.head
        self._acked = trio.Event()
        self.hello = {"cursor": request.cursor, "position": format_id(self._epoch, state.position)}
        """Name and position, for the first object of the connection."""

    async def take(self) -> Sequence[Entry | Gap]:
        """The next messages, as soon as there are any and not too much is unacknowledged; cancelling loses nothing.

        Nothing, once all is acknowledged of a subscription that does not follow. Raises `Ended` and `Unavailable`.
        """
        return await self._claim.work(self._take)

    def skip_unwanted(self) -> int:
        """Move over what is not of the subscription; the position up to which everything has been taken."""
        if not self._ready:
            self._sent_up_to(self._subscription.skip_unwanted())
            if not self._unacked and self._state.position >= self._gap:
                self._positions.advance(self._state, self._sent)
        return self._sent

    def ack(self, received: object) -> None:
        """Acknowledge everything up to the id in a JSON value; raises `Refused`, and then nothing changes.

        The position is saved soon. From a connection that no longer has the cursor, it is ignored.
        """
        match received:
            case {"type": "ack", "id": id}:
                position = read_position(id, self._epoch)
            case _:
                raise Refused('a cursor is acknowledged by {"type": "ack", "id": "..."}')
        if position > self._state.sent:
            raise Refused("an ack is of what was sent, this message was not sent yet")
        if not self._claim.ended:
            while self._unacked and self._unacked[0] <= position:
                self._unacked.popleft()
            self._positions.advance(self._state, position, soon=True)
            self._acked.set()

    async def _take(self) -> Sequence[Entry | Gap]:
        while True:
            room = self._max_unacked - len(self._unacked)
            if room and self._ready:
                if taken := self._hand_out(room):
                    return taken
            elif room and not self._at_end():
                self._ready.extend(await take_page(self._subscription))
            elif self._unacked:
                self._acked = trio.Event()
                await self._acked.wait()
            else:
                return ()

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
                continue  # acknowledged on a connection before
            taken.append(item)
            self._sent_up_to(position)
        return taken

    def _sent_up_to(self, position: int) -> None:
        self._sent = max(self._sent, position)
        self._state.sent = max(self._state.sent, position)

    def _at_end(self) -> bool:
        return self._end is not None and self._subscription.skip_unwanted() >= self._end


async def take_page(subscription: Subscription) -> Sequence[Entry | Gap]:
    """The next messages, but no more than a page: the rest stays where it is, in the window or in the log."""
    taken = await subscription.take()
    size = 0
    for n, item in enumerate(taken):
        size += len(item.message.body) if isinstance(item, Entry) else 0
        if n > PAGE_MESSAGES or (n and size > PAGE_BYTES):
            subscription.position = taken[n - 1].position
            return taken[:n]
    return taken


def read_position(id: object, epoch: str) -> int:
    """The position that an id stands for; raises `Refused` if it is none of this log."""
    try:
        its_epoch, position = parse_id(id if isinstance(id, str) else "")
    except ValueError:
        raise Refused(f"an ack has ids of messages, this is none: {str(id)[:80]!r}") from None
    if its_epoch != epoch:
        raise Refused(f"an ack has ids of this log, this is of another one: {id!r}")
    return position
