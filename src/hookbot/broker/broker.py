"""The broker: publishes drafts to the log, and opens subscriptions that follow it."""

from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from time import perf_counter

import trio

from ..callbacks import result_of
from ..errors import Refused
from ..log.contract import Log, NewPosition, Unit
from ..log.deduplication import Outcome
from ..log.duties import TRIM, Held
from ..log.retention import Retention
from ..log.trusted_clock import TrustedClock
from ..protocol.message import Draft, Duplicate, Gap, Message, wall_clock_us
from ..protocol.topics import TopicFilter
from .channels import Channel, Channels, Entry
from .counts import Counts
from .deletions import Deletions
from .duties import hold
from .flow import Flow
from .frame_cache import FrameCache
from .limits import BrokerLimits
from .page_cache import PageCache
from .starts import Start, Starts
from .time_slices import Line
from .writer import Done, Writer


class Subscription:
    """Reader of the log: every message that matches a filter, in order, once.

    One that falls behind the window in memory continues from the log until it has caught up. Messages that retention
    has deleted meanwhile are reported as a `Gap`, before the first message after them. Only one task at a time may
    `take`; cancelling it loses nothing.
    """

    def __init__(self, broker: "Broker", channel: Channel, start: Start) -> None:
        self._broker = broker
        self._channel = channel
        self._gap = start.gap
        self._told = start.told
        self._news = trio.Event()
        self.wanted = channel.wanted
        self.position = start.position

    @property
    def is_behind(self) -> bool:
        """True if the next messages are read from the log."""
        return self.position < self._channel.floor

    async def take(self) -> Sequence[Entry | Gap]:
        """Next messages, a gap, or both, as soon as there are any: at most a page. The rest stays where it is.

        One that `is_behind` reads a page of the log, which may be empty. Raises `Unavailable` if it cannot be read.
        """
        # Either lets other tasks run.
        if self._is_complete and not self._gap:
            await self._wait()
        else:
            await trio.lowlevel.checkpoint()
        if self._gap:
            gap, self._gap = self._gap, None
            return [gap]
        while not self.is_behind:
            if taken := _first_page(self._channel.after(self.position), self._broker.limits):
                self.position = taken[-1].position
                return taken
            await self._wait()
        page, self.position, self._told = await self._broker.read_on(self.wanted, self.position, self._told)
        return page

    def skip_unwanted(self) -> int:
        """Move past messages of other topics, and return the position up to which everything has been taken."""
        # The head may be behind a message not taken yet.
        if self._is_complete:
            self.position = max(self.position, self._broker.head)
        return self.position

    def wake(self) -> None:
        """Wake `take`; called once for each batch of messages announced to the channel."""
        self._news.set()

    @property
    def _is_complete(self) -> bool:
        """True if no message that matches is left, neither in the channel nor in the log."""
        return not self.is_behind and not self._channel.after(self.position)

    async def _wait(self) -> None:
        self._news = trio.Event()
        await self._news.wait()


class Broker:
    """Stores drafts, and opens subscriptions to the messages. Made by `open_broker`."""

    def __init__(self, log: Log, retention: Retention, clock_us: Callable[[], int], limits: BrokerLimits) -> None:
        self.log = log
        self.limits = limits
        self.clock = TrustedClock.of(clock_us)
        self.counts = Counts()
        self.line = Line()
        self._gathers, self._began = False, 0.0
        self.frames = FrameCache(limits.frame_bytes)
        self.channels = Channels(log.head, limits, self.frames)
        self.starts = Starts(log, self.channels)
        self.writer = Writer(log, retention, self.counts, self.clock, limits)
        self.flow = Flow(self.channels, self.writer, limits.due_bytes)
        self._pages = PageCache(log, limits, self.frames)
        log.follow(self.channels.announce)
        self.deletions = Deletions(
            log, self.writer, self.channels.forget, self._pages.forget, lambda _: self.frames.clear()
        )

    @property
    def head(self) -> int:
        """Position of the newest message announced to subscriptions."""
        return self.channels.head

    async def publish(self, draft: Draft) -> Message | Duplicate:
        """Store a draft and return the message, or a `Duplicate` if its key was used before. Not cancellable.

        Raises `KeyReused` if its key was used with another body, and `Unavailable` like `commit`.
        """
        [outcome] = await self.commit([draft])
        if isinstance(outcome, Refused):
            raise outcome
        return outcome

    async def commit(
        self,
        drafts: Sequence[Draft],
        *,
        cursors: Mapping[str, NewPosition] | None = None,
        duty: Held | None = None,
    ) -> Sequence[Outcome]:
        """Store drafts and cursors in one commit, and return the outcome of each draft.

        Raises `Unavailable` if the queue is full, the log fails or the hub is shutting down, and `Superseded` if a
        cursor is no longer where a `Move` expects it, or another hub has the duty; then nothing is stored. Not
        cancellable, so that the caller always learns the outcome.
        """

        def start(done: Done) -> None:
            self.flow.submit(Unit(drafts, cursors or {}, duty), done)
            self.writer.flush()

        return await result_of(start)

    def submit(self, drafts: Sequence[Draft], done: Done, *, cursors: Mapping[str, NewPosition] | None = None) -> None:
        """Queue drafts and cursors like `commit`, without waiting; see `Flow.submit` and `Writer.submit`.

        They are stored soon; those submitted between `gather` and `flush` wait for that. `done` may be called there.
        """
        # Those of one turn came at once, and to ask for the time costs a hundredth of a publish.
        began = self._began if self._gathers else perf_counter()
        self.flow.submit(Unit(drafts, cursors or {}, None, began), done)
        if not self._gathers:
            self.writer.flush_soon()

    def gather(self) -> None:
        """Begin to gather the drafts that are submitted; no other task may run before `flush`."""
        self._gathers, self._began = True, perf_counter()

    def flush(self) -> None:
        """Store what was gathered: at once in a log that needs no waiting."""
        self._gathers = False
        self.writer.flush()

    async def delete(self, positions: Collection[int]) -> int:
        """Delete the messages at these positions, and return how many there were; see `Deletions.delete`.

        Then no part of this hub's memory has them, except what is being sent. Subscribers are not told of a gap.
        """
        return await self.deletions.delete(positions)

    @property
    def retention(self) -> Retention:
        """Limits on what is kept."""
        return self.writer.retention

    def retain(self, retention: Retention) -> None:
        """Keep what this retention keeps, from the next step on."""
        self.writer.retention = retention

    @contextmanager
    def subscribe(self, wanted: TopicFilter, start: Start | None = None) -> Iterator[Subscription]:
        """Subscription to a filter from `start` (default: the head) until the block ends."""
        with self.channels.open(wanted) as channel:
            subscription = Subscription(self, channel, start or Start(self.head))
            channel.wakers.add(subscription.wake)
            try:
                yield subscription
            finally:
                channel.wakers.discard(subscription.wake)

    async def read(self, wanted: TopicFilter, *, after: int) -> tuple[Sequence[Entry | Gap], int]:
        """Next page of the log after `after`, possibly empty, and the position up to which it reaches.

        A hole of the log is one gap, and nothing else.
        A page that several subscriptions read, at once or shortly after each other, is loaded and encoded once.
        Raises `Unavailable` if the log cannot be read.
        """
        return await self._pages.read(wanted, after=after)

    async def read_on(
        self, wanted: TopicFilter, position: int, told: int = 0
    ) -> tuple[Sequence[Entry | Gap], int, int]:
        """Next page like that of `read`, after a gap if retention has deleted messages that precede or follow it.

        Only the first item may be a gap. Messages within it may follow: those of other budgets. The last number is up
        to where the subscription knows of it then.
        """
        items, end = await self.read(wanted, after=position)
        # After the read: retention may have deleted the beginning of the page meanwhile.
        gap, gone = self.starts.gap_after(wanted, position, told), self.log.gone_up_to(wanted)
        if gap is None:
            return items, end, told
        entries = [item for item in items if isinstance(item, Entry) and item.position > gone]
        # A hole after it is a page of its own.
        return [gap, *entries], max(end, gone) if entries or not items else max(position, gone), gap.position


def _first_page(entries: Sequence[Entry], limits: BrokerLimits) -> Sequence[Entry]:
    """The first entries, as many as a page of the log would have."""
    size = 0
    for n, entry in enumerate(entries):
        size += len(entry.message.body)
        if n == limits.page_messages or (n and size > limits.page_bytes):
            return entries[:n]
    return entries


@asynccontextmanager
async def open_broker(
    log: Log,
    retention: Retention | None = None,
    *,
    clock_us: Callable[[], int] = wall_clock_us,
    limits: BrokerLimits | None = None,
) -> AsyncIterator[Broker]:
    """Broker over `log` until the block ends. Drafts still queued then are stored; later publishes are refused.

    If the block ends by an exception or a cancellation, queued drafts are refused with `Unavailable`.
    """
    broker = Broker(log, retention or Retention(), clock_us, limits or BrokerLimits())
    broker.clock.check_start(log.head_us)
    trims = trio.CancelScope()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(broker.writer.run)
        nursery.start_soon(hold, log.duties, TRIM, trims)
        try:
            yield broker
        finally:
            broker.flow.close()
            broker.writer.close()
            trims.cancel()
