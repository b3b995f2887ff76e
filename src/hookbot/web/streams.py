"""Streams: subscriptions encoded as frames, for websockets, server-sent events and JSON lines."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import trio

from ..access.active_subscriptions import GRANT_ENDED, ActiveSubscriptions
from ..access.admitted import AdmittedSubscription
from ..broker.broker import Broker, Start
from ..broker.channels import Entry
from ..broker.history import MessageSource, NewestMessages, StoredMessages
from ..errors import Ended, HistoryLost
from ..protocol.frames import Framing, framing_for
from ..protocol.message import Gap, format_id
from ..protocol.websocket import GOING_AWAY, POLICY_VIOLATION

SHUTTING_DOWN = Ended(GOING_AWAY, "the hub is shutting down; reconnect and resume")


class Stream:
    """Asynchronous iterator over batches of frames; made by `Streams.open` or `Streams.open_from`.

    Ends after `limit` messages, or after the stored ones if the subscription does not follow. Raises `HistoryLost` at
    a gap that the format cannot express, `Unavailable` if the log cannot be read, and `Ended` if the hub ends it.
    """

    def __init__(
        self, epoch: str, source: MessageSource, framing: Framing, limit: int | None, heartbeat_s: float
    ) -> None:
        self._epoch = epoch
        self._source = source
        self._framing = framing
        self._left = limit
        self._heartbeat_s = heartbeat_s
        self._waiting = trio.CancelScope()
        self._ended: Ended | None = None

    def end(self, reason: Ended) -> None:
        """Make the current or the next `__anext__` raise `reason`."""
        self._ended = reason
        self._waiting.cancel()

    def __aiter__(self) -> "Stream":
        return self

    async def __anext__(self) -> Sequence[bytes]:
        while True:
            if self._left == 0:
                raise StopAsyncIteration
            taken = await self._take()
            if self._ended:
                raise self._ended
            if taken is None:
                frame = self._framing.heartbeat(format_id(self._epoch, self._source.skip_unwanted()))
                if frame:
                    return [frame]
            elif taken:
                return await self._frames(self._within_limit(taken))
            else:
                raise StopAsyncIteration

    async def _take(self) -> Sequence[Entry | Gap] | None:
        """The next entries and gaps, empty at the end of the source; None when a heartbeat is due, or after `end`."""
        with trio.move_on_after(self._heartbeat_s) as self._waiting:
            return None if self._ended else await self._source.take()
        return None

    def _within_limit(self, taken: Sequence[Entry | Gap]) -> Sequence[Entry | Gap]:
        if self._left is not None:
            gaps = sum(isinstance(item, Gap) for item in taken)
            taken = taken[: self._left + gaps]
            self._left -= len(taken) - gaps
        return taken

    async def _frames(self, items: Sequence[Entry | Gap]) -> Sequence[bytes]:
        # Large messages are encoded in a thread first, so that the list below does not block the loop.
        for item in items:
            if isinstance(item, Entry):
                await item.prepare(self._framing.key, self._framing.message)
        return [self._frame(item) for item in items]

    def _frame(self, item: Entry | Gap) -> bytes:
        if isinstance(item, Entry):
            return item.frame(self._framing.key, self._framing.message)
        frame = self._framing.gap(item)
        if frame is None:
            raise history_lost(item)
        return frame


def history_lost(gap: Gap) -> HistoryLost:
    """The error that ends a subscription at a gap that its format cannot express."""
    return HistoryLost(f"messages before {gap.before} are missing ({gap.reason}); resume from there")


class Streams:
    """The open streams of a hub; `close` ends them at a shutdown."""

    def __init__(self, broker: Broker, active: ActiveSubscriptions, heartbeat_s: float) -> None:
        self._broker = broker
        self._active = active
        self.heartbeat_s = heartbeat_s
        self._open: set[Stream] = set()
        self._closing = False

    @contextmanager
    def open(self, admitted: AdmittedSubscription, start: Start) -> Iterator[Stream]:
        """A stream of the messages after `start`, and of new ones if the request follows. Raises like `open_from`."""
        request = admitted.request
        if not request.follow:
            stored = NewestMessages if request.newest else StoredMessages
            with self.open_from(stored(self._broker, request, start), admitted) as stream:
                yield stream
            return
        with (
            self._broker.subscribe(request.wanted, start) as subscription,
            self.open_from(subscription, admitted) as stream,
        ):
            yield stream

    @contextmanager
    def open_from(self, source: MessageSource, admitted: AdmittedSubscription) -> Iterator[Stream]:
        """A stream of `source`, ended once its grant is no longer valid. Raises like `ActiveSubscriptions.check`."""
        request = admitted.request
        stream = Stream(self._broker.log.epoch, source, framing_for(request), request.limit, self.heartbeat_s)
        grant_ended = partial(stream.end, Ended(POLICY_VIOLATION, GRANT_ENDED))
        self._open.add(stream)
        try:
            # A handshake may have been answered after `close`.
            if self._closing:
                stream.end(SHUTTING_DOWN)
            with self._active.hold(admitted.grant, grant_ended):
                yield stream
        finally:
            self._open.discard(stream)

    def close(self) -> None:
        """End all streams, and any that is opened from now on, because the hub is shutting down."""
        self._closing = True
        for stream in self._open:
            stream.end(SHUTTING_DOWN)
