"""Channels: the newest messages of each filter that has subscriptions, in memory.

Finding the channels of a topic is a look-up of the topic and of each of its prefixes, however many channels there are.
All channels share one window of recent messages; a subscription that is further behind reads the log.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache

import trio

from ..log.contract import News
from ..protocol.envelope import LARGE_BODY
from ..protocol.message import Message
from ..protocol.topics import TopicFilter, patterns_of
from ..threads import hub_threads
from .frame_cache import FrameCache, Frames
from .limits import BrokerLimits

# Topics whose channels are remembered: as many as the window has messages. Their names take 10 MB at most.
MAX_TOPICS = 10_000

Encode = Callable[[Message], bytes]


@dataclass(slots=True, eq=False)
class Entry:
    """A message with its frames, each of which is encoded once for all subscribers that use the format."""

    message: Message
    position: int
    cache: FrameCache
    began: float = 0.0
    """Time at which it was published, as in `News`; 0 if it was read from the log, or was published at another hub."""
    _frames: Frames = field(default_factory=dict)

    @property
    def is_large(self) -> bool:
        """True if encoding it would hold up the event loop."""
        return len(self.message.body) > LARGE_BODY

    def frame(self, key: Hashable, encode: Encode) -> bytes:
        """Frame of the message as `encode` writes it; `key` identifies the encoding."""
        frame = self._frames.get(key)
        if frame is None:
            frame = encode(self.message)
            self.cache.keep(self._frames, key, frame)
        return frame

    def ready_frame(self, key: Hashable) -> bytes | None:
        """Frame of a large message as from `prepare_now`, or None if it is not cached."""
        return self._frames.get(key)

    async def prepare(self, key: Hashable, encode: Encode) -> bytes:
        """Frame of the message as from `frame`; of a large one encoded in a thread, after others have been."""
        if self.is_large:
            async with self.cache.encoding:
                return await self.prepare_now(key, encode)
        return self.frame(key, encode)

    async def prepare_now(self, key: Hashable, encode: Encode) -> bytes:
        """Frame of a large message as from `prepare`, for callers that hold the cache's lock `encoding`."""
        frame = self._frames.get(key)
        if frame is None:
            # Now and not afterwards: a frame is at least as large as its body.
            self.cache.make_room(len(self.message.body))
            cleared = self.cache.cleared
            frame = await trio.to_thread.run_sync(encode, self.message, limiter=hub_threads())
            if self.cache.cleared == cleared:
                self.cache.keep(self._frames, key, frame)
        return frame


class Channel:
    """One filter with its subscriptions, and all matching messages after the position `floor`."""

    __slots__ = ("deliveries", "due", "entries", "floor", "holders", "listeners", "wakers", "wanted")

    def __init__(self, wanted: TopicFilter, floor: int) -> None:
        self.wanted = wanted
        self.floor = floor
        self.entries: list[Entry] = []
        self.wakers: set[Callable[[], None]] = set()
        """Functions that wake the subscriptions and audiences of the channel."""
        self.holders = 0
        self.listeners = 0
        """Number of the fan-out's subscribers that are in step: what is announced is sent to each of them at once."""
        self.deliveries = 0
        """Number of audiences with a delivery under way, and of large messages that are being prepared for one."""
        self.due = 0
        """Bytes that were announced, counted for each of these subscribers, and are not sent to all of them yet."""

    @property
    def newest(self) -> int:
        """Position of the newest entry that the channel has had; its floor if it had none."""
        return self.entries[-1].position if self.entries else self.floor

    def after(self, position: int) -> list[Entry]:
        """Entries after `position`, which must not be below `floor`."""
        entries = self.entries
        if not entries or entries[-1].position <= position:
            return []
        # Mostly, all but the newest have been taken.
        if len(entries) == 1 or entries[-2].position <= position:
            return entries[-1:]
        return entries[bisect_right(entries, position, key=lambda entry: entry.position) :]

    def at(self, position: int) -> Entry | None:
        """Entry at a position; None if the channel has none there."""
        entries = self.after(position - 1)[:1]
        return entries[0] if entries and entries[0].position == position else None

    def forget(self, entry: Entry) -> None:
        """Drop an entry that has left the window and is now only in the log."""
        # A channel opened after the entry was announced does not have it.
        if self.entries and self.entries[0] is entry:
            del self.entries[0]
            self.floor = entry.position


class Channels:
    """All channels of a hub, and the window of recent messages that they share."""

    def __init__(self, head: int, limits: BrokerLimits, cache: FrameCache) -> None:
        self.head = head
        """Position of the newest message announced."""
        self.due = 0
        """Bytes that are due in all channels."""
        self.after_batch: list[Callable[[], None]] = []
        """Functions called after each batch, when everybody was woken. They must neither block nor raise."""
        self._frames = cache
        self._limits = limits
        self._channels: dict[TopicFilter, Channel] = {}
        self._by_pattern: dict[str, list[Channel]] = {}
        self._window: deque[tuple[Entry, int]] = deque()
        self._window_bytes = 0
        # Until a channel comes or goes.
        self._channels_of = lru_cache(MAX_TOPICS)(self._find_channels)

    def announce(self, news: News) -> None:
        """Add newly committed messages to their channels, in order, then wake each subscription once."""
        changed: dict[Channel, None] = {}
        if news.after > self.head:
            changed.update(dict.fromkeys(self._leave_to_log(news.after)))
        for message in news.messages:
            channels = self._channels_of(message.topic)
            if channels:
                entry, size = Entry(message, message.position, self._frames, news.began), message.size
                for channel in channels:
                    channel.entries.append(entry)
                    changed[channel] = None
                    if channel.listeners:
                        channel.due += channel.listeners * size
                        self.due += channel.listeners * size
                self._window.append((entry, size))
                self._window_bytes += size
        self.head = news.head
        _wake(changed)
        for function in self.after_batch:
            function()
        # Last, because most of what leaves the window has been sent by now.
        self._shrink_window()

    def forget(self, positions: Collection[int] | None) -> None:
        """Forget messages that were deleted; if it is not known which, all, so that those behind read the log.

        Who waits for messages of rare topics is woken for it, too, or would seem to be behind until there is one.
        """
        if positions is None:
            _wake(self._leave_to_log(self.head))
        elif gone := {entry for entry, _ in self._window if entry.position in positions}:
            self._window = deque([(entry, size) for entry, size in self._window if entry not in gone])
            self._window_bytes = sum([size for _, size in self._window])
            for channel in {channel for entry in gone for channel in self._channels_of(entry.message.topic)}:
                channel.entries = [entry for entry in channel.entries if entry not in gone]

    def listeners(self, topic: str) -> int:
        """Number of the fan-out's subscribers to which a message of a topic would be sent at once."""
        channels = self._channels_of(topic)
        return sum([channel.listeners for channel in channels]) if channels else 0

    def end_delivery(self, channel: Channel) -> None:
        """Count one of a channel's `deliveries` as ended; with the last of them, what is due is sent."""
        channel.deliveries -= 1
        if not channel.deliveries:
            self._settle(channel, channel.newest)

    def continue_delivery(self, channel: Channel, position: int) -> None:
        """Count what is due in a channel as sent up to a position, if a delivery that goes on is the only one."""
        if channel.deliveries == 1:
            self._settle(channel, position)

    @contextmanager
    def open(self, wanted: TopicFilter) -> Iterator[Channel]:
        """Channel of a filter, held until the block ends."""
        channel = self.hold(wanted)
        try:
            yield channel
        finally:
            self.release(channel)

    def hold(self, wanted: TopicFilter) -> Channel:
        """Channel of a filter, for callers that cannot use a block. Call `release` once for each call."""
        channel = self._channels.get(wanted)
        if channel is None:
            channel = self._channels[wanted] = Channel(wanted, self.head)
            for pattern in wanted.patterns:
                self._by_pattern.setdefault(pattern, []).append(channel)
            self._channels_of.cache_clear()
        channel.holders += 1
        return channel

    def release(self, channel: Channel) -> None:
        """Give up a held channel; it is removed with its last holder."""
        channel.holders -= 1
        if channel.holders:
            return
        # Connections that have ended may refer to the channel for a while.
        channel.entries.clear()
        self._settle(channel, channel.newest)
        del self._channels[channel.wanted]
        for pattern in channel.wanted.patterns:
            self._by_pattern[pattern].remove(channel)
            if not self._by_pattern[pattern]:
                del self._by_pattern[pattern]
        self._channels_of.cache_clear()

    def _leave_to_log(self, position: int) -> Iterable[Channel]:
        """Forget all messages up to a position, some of which were not told: who has not had them reads the log."""
        self._window.clear()
        self._window_bytes = 0
        for channel in self._channels.values():
            channel.entries.clear()
            channel.floor = position
            self._settle(channel, position)
        return self._channels.values()

    def _settle(self, channel: Channel, position: int) -> None:
        due = channel.listeners * sum([entry.message.size for entry in channel.after(position)])
        self.due += due - channel.due
        channel.due = due

    def _find_channels(self, topic: str) -> Collection[Channel]:
        channels = self._by_pattern
        return tuple(
            dict.fromkeys([channel for pattern in patterns_of(topic) for channel in channels.get(pattern, ())])
        )

    def _shrink_window(self) -> None:
        window, limits = self._window, self._limits
        while len(window) > 1 and (self._window_bytes > limits.window_bytes or len(window) > limits.window_messages):
            oldest, size = window.popleft()
            self._window_bytes -= size
            for channel in self._channels_of(oldest.message.topic):
                channel.forget(oldest)


def _wake(channels: Iterable[Channel]) -> None:
    for channel in channels:
        for wake in channel.wakers:
            wake()
