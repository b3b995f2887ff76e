"""Streams: subscriptions encoded as frames, for websockets, server-sent events and JSON lines."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter

import trio

from ..access.active_subscriptions import ActiveSubscription, ActiveSubscriptions
from ..access.admitted import AdmittedSubscription
from ..broker.broker import Broker
from ..broker.channels import Entry
from ..broker.history import MessageSource, NewestMessages, StoredMessages
from ..broker.starts import Start
from ..errors import Ended, HistoryLost
from ..protocol.frames import framing_for
from ..protocol.message import Gap, format_id
from ..protocol.since import AfterId
from ..protocol.websocket import GOING_AWAY
from .held_bytes import Abort, HeldBytes, Holder
from .page_turns import PageTurns
from .turns import Turns

STREAM_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
"""Headers that keep caches from storing a stream, and nginx from buffering it."""

SHUTTING_DOWN = Ended(GOING_AWAY, "the hub is shutting down; reconnect and resume")

# To apply an acknowledgement of 64 KiB takes up to ten milliseconds; others run between two of them.
LONG_MESSAGE_STEPS = 1


class Stream(Holder):
    """Asynchronous iterator over batches of frames; made by `Streams.open` or `Streams.open_from`.

    Ends after `limit` messages, or after the stored ones if the subscription does not follow. Raises `HistoryLost` at
    a gap that the format cannot express, `Unavailable` if the log cannot be read, and `Ended` if the hub ends it.
    """

    def __init__(
        self, epoch: str, source: MessageSource, admitted: AdmittedSubscription, streams: "Streams", abort: Abort
    ) -> None:
        super().__init__(streams.held, admitted, abort)
        self._epoch = epoch
        self._source = source
        self._framing = framing_for(self.request)
        self._counts = streams.counts
        self._left = self.request.limit
        self._heartbeat_s = streams.heartbeat_s
        self._reading = streams.reading
        self.long_messages = streams.long_messages
        self._waiting = trio.CancelScope()
        self._waits_since = 0.0
        """Time at which it began to wait for what it was sent last, on the clock of `perf_counter`."""
        self._ended: Ended | None = None

    def dismiss(self, reason: Ended) -> None:
        """Make the current or the next `__anext__` raise `reason`."""
        self._ended = reason
        self._waiting.cancel()

    def skip_unwanted(self) -> int:
        """As the source of the stream."""
        return self._source.skip_unwanted()

    def __aiter__(self) -> "Stream":
        return self

    async def __anext__(self) -> Sequence[bytes]:
        self.release()
        while True:
            if self._left == 0:
                raise StopAsyncIteration
            if frames := await self._next_in_turn():
                return frames

    async def _next_in_turn(self) -> Sequence[bytes]:
        if not self._source.is_behind:
            return await self._next()
        # A page of the log may be a message of 25 MB: few at a time are read and encoded.
        async with self._reading:
            # What it would have read may be acknowledged by now, and in here nobody may wait for anything new.
            return await self._next() if self._source.is_behind else []

    async def _next(self) -> Sequence[bytes]:
        taken: Sequence[Entry | Gap] | None = None
        self._waits_since = perf_counter()
        with trio.move_on_at(self._silent_until()) as self._waiting:
            taken = () if self._ended else await self._source.take()
        self._raise_if_ended()
        if self._waiting.cancelled_caught:
            return self._heartbeat(format_id(self._epoch, self.skip_unwanted()))
        if taken is None:
            raise StopAsyncIteration
        return await self._frames(self._within_limit(taken)) if taken else []

    def _silent_until(self) -> float:
        return trio.current_time() + self._heartbeat_s

    def _heartbeat(self, id: str) -> Sequence[bytes]:
        frame = self._framing.heartbeat(id)
        return [frame] if frame else []

    def _within_limit(self, taken: Sequence[Entry | Gap]) -> Sequence[Entry | Gap]:
        if self._left is not None:
            gaps = sum(isinstance(item, Gap) for item in taken)
            taken = taken[: self._left + gaps]
            self._left -= len(taken) - gaps
        return taken

    async def _frames(self, items: Sequence[Entry | Gap]) -> Sequence[bytes]:
        # Counted also while a large message waits to be encoded.
        bodies = [item.message.body for item in items if isinstance(item, Entry)]
        self._hold(bodies)
        frames: Sequence[bytes] = ()
        with trio.CancelScope() as self._waiting:
            frames = [await self._frame(item) for item in items]
        if not self._ended:
            self._hold(frames)
        self._raise_if_ended()
        self._count(items, sum(map(len, frames)))
        self._sending = True
        return frames

    def _count(self, items: Sequence[Entry | Gap], size: int) -> None:
        entries = [item for item in items if isinstance(item, Entry)]
        self._counts.delivered_in[self.request.format].add(len(entries), size)
        if len(entries) < len(items):
            self._counts.gaps.update(item.reason for item in items if isinstance(item, Gap))
        # One that was published before is late because of the client.
        if entries and entries[0].began > self._waits_since:
            self._counts.tell_times.add(perf_counter() - entries[0].began, len(entries))

    def _raise_if_ended(self) -> None:
        if self._ended:
            self.release()
            # Not the reason itself, which is shared: its traceback would keep what this stream has in memory.
            raise Ended(self._ended.code, str(self._ended))

    async def _frame(self, item: Entry | Gap) -> bytes:
        if isinstance(item, Entry):
            return await item.prepare(self._framing.key, self._framing.message)
        frame = self._framing.gap(item)
        if frame is None:
            raise history_lost(item)
        return frame


class Poll(Stream):
    """The stream that answers a long poll: the first messages, or none if there are none in time, then a heartbeat.

    Who goes on after the id of that misses nothing, however the poll has ended.
    """

    def __init__(
        self, epoch: str, source: MessageSource, admitted: AdmittedSubscription, streams: "Streams", abort: Abort
    ) -> None:
        super().__init__(epoch, source, admitted, streams, abort)
        since = self.request.since
        # Not beyond a gap of which the client is still to be told.
        self._start = since.id if isinstance(since, AfterId) else format_id(epoch, self.skip_unwanted())
        self._ends_at = trio.current_time() + self.request.wait_s
        self._is_over = False

    async def __anext__(self) -> Sequence[bytes]:
        if self._is_over:
            self.release()
            raise StopAsyncIteration
        try:
            return await super().__anext__()
        except Ended:
            # What was taken meanwhile was not sent.
            return self._heartbeat(self._start)

    def _silent_until(self) -> float:
        return self._ends_at

    def _heartbeat(self, id: str) -> Sequence[bytes]:
        self._is_over = True
        return super()._heartbeat(id)

    async def _frames(self, items: Sequence[Entry | Gap]) -> Sequence[bytes]:
        frames = await super()._frames(items)
        # Not after a gap alone: whoever resumed there might be told of it again, for ever.
        ids = [item.message.id for item in items if isinstance(item, Entry)]
        return [*frames, *self._heartbeat(ids[-1])] if ids else frames


def history_lost(gap: Gap) -> HistoryLost:
    """The error that ends a subscription at a gap that its format cannot express."""
    return HistoryLost(f"messages before {gap.before} are missing ({gap.reason}); resume from there")


class Streams:
    """The open streams of a hub; `close` ends them at a shutdown."""

    def __init__(self, broker: Broker, active: ActiveSubscriptions, heartbeat_s: float, held: HeldBytes) -> None:
        self._broker = broker
        self.counts = broker.counts
        self._active = active
        self.heartbeat_s = heartbeat_s
        self.held = held
        """Bytes that wait for slow subscribers, those of the fast path included."""
        self.reading = PageTurns(lambda: self.counts.published)
        """Held while a page of the log is read, encoded and, on the fast path, sent."""
        self.long_messages = Turns(LONG_MESSAGE_STEPS)
        """Turns of connections whose clients have sent a long message."""
        self._open: set[ActiveSubscription] = set()
        self._closing = False

    @contextmanager
    def open(self, admitted: AdmittedSubscription, start: Start, abort: Abort) -> Iterator[Stream]:
        """A stream of the messages after `start`, and of new ones if the request follows. Raises like `open_from`."""
        request = admitted.request
        if not request.follow:
            stored = NewestMessages if request.newest else StoredMessages
            with self.open_from(stored(self._broker, request, start), admitted, abort) as stream:
                yield stream
            return
        with (
            self._broker.subscribe(request.wanted, start) as subscription,
            self.open_from(subscription, admitted, abort) as stream,
        ):
            yield stream

    @contextmanager
    def open_from(self, source: MessageSource, admitted: AdmittedSubscription, abort: Abort) -> Iterator[Stream]:
        """A stream of `source`, ended once its grant is no longer valid. Raises like `ActiveSubscriptions.check`.

        `abort` ends its connection if too much waits for slow subscribers and it holds most.
        """
        kind = Poll if admitted.request.wait_s else Stream
        stream = kind(self._broker.log.epoch, source, admitted, self, abort)
        with self.attach(stream):
            try:
                yield stream
            finally:
                stream.release()

    @contextmanager
    def attach(self, subscription: ActiveSubscription) -> Iterator[None]:
        """Register a subscription, and end it when the hub shuts down. Raises like `ActiveSubscriptions.check`."""
        self._open.add(subscription)
        try:
            # A handshake may have been answered after `close`.
            if self._closing:
                subscription.dismiss(SHUTTING_DOWN)
            with self._active.hold(subscription):
                yield
        finally:
            self._open.discard(subscription)

    def close(self) -> None:
        """End all streams, and any that is opened from now on, because the hub is shutting down."""
        self._closing = True
        for subscription in self._open:
            subscription.dismiss(SHUTTING_DOWN)
