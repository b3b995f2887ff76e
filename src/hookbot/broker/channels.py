"""Channels: the newest messages of each filter that somebody listens to, in memory.

There is one channel for each filter that somebody listens to. Finding the channels of a topic is a look-up of the
topic and of each of its prefixes, however many channels there are. All channels together keep one window of recent
messages; whoever is further behind than that reads the log.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Collection, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import trio

from ..protocol.envelope import LARGE_BODY
from ..protocol.message import Message
from ..protocol.topics import TopicFilter, patterns_of

WINDOW_BYTES = 16 << 20  # or one message, however large: it is sent to everybody from here, not read for each
WINDOW_MESSAGES = 10_000

Encode = Callable[[Message], bytes]


@dataclass(slots=True, eq=False)
class Entry:
    """A message on its way out, with its frames: each is encoded once, for all who want it."""

    message: Message
    position: int
    _frames: dict[Hashable, bytes] = field(default_factory=dict)
    _preparing: dict[Hashable, trio.Lock] | None = None

    def is_ready(self, key: Hashable) -> bool:
        """Whether `frame` returns at once: the message is small, or its frame is there."""
        return len(self.message.body) <= LARGE_BODY or key in self._frames

    def frame(self, key: Hashable, encode: Encode) -> bytes:
        """The message as `encode` writes it; `key` names that encoding."""
        frame = self._frames.get(key)
        if frame is None:
            frame = self._frames[key] = encode(self.message)
        return frame

    def ready_frame(self, key: Hashable, encode: Encode) -> bytes | None:
        """Like `frame`; None if the message is large and has not been prepared."""
        frame = self._frames.get(key)
        return self.frame(key, encode) if frame is None and self.is_ready(key) else frame

    async def prepare(self, key: Hashable, encode: Encode) -> None:
        """Encode a large message in a thread, so that nobody else has to wait for it."""
        if self.is_ready(key):
            return
        self._preparing = self._preparing or {}  # most messages need none
        async with self._preparing.setdefault(key, trio.Lock()):
            if not self.is_ready(key):
                await trio.to_thread.run_sync(self.frame, key, encode)


class Channel:
    """One filter: its listeners, and every message after `floor` that it selects."""

    def __init__(self, wanted: TopicFilter, floor: int) -> None:
        self.wanted = wanted
        self.floor = floor
        self.entries: list[Entry] = []
        self.listeners: set[Callable[[], None]] = set()
        self.holders = 0

    def after(self, position: int) -> list[Entry]:
        """Everything after `position`, which must not be below `floor`."""
        return self.entries[bisect_right(self.entries, position, key=lambda entry: entry.position) :]

    def forget(self, entry: Entry) -> None:
        """Drop the oldest entry, which has left the window; it is in the log."""
        if self.entries and self.entries[0] is entry:
            del self.entries[0]
            self.floor = entry.position


class Channels:
    """All channels of a hub, and the window of recent messages that they share."""

    def __init__(self, head: int) -> None:
        self.head = head
        """The position of the newest message announced."""
        self._channels: dict[TopicFilter, Channel] = {}
        self._by_pattern: dict[str, list[Channel]] = {}
        self._window: deque[tuple[Entry, int]] = deque()
        self._window_bytes = 0

    def announce(self, messages: Sequence[Message]) -> None:
        """Hand newly committed messages over, in order; wakes each listener once."""
        told: dict[Channel, None] = {}
        for message in messages:
            self.head = message.position
            channels = self._channels_of(message.topic)
            if channels:
                entry = Entry(message, message.position)
                for channel in channels:
                    channel.entries.append(entry)
                    told[channel] = None
                self._remember(entry)
        for channel in told:
            for wake in channel.listeners:
                wake()

    @contextmanager
    def open(self, wanted: TopicFilter) -> Iterator[Channel]:
        """The channel of this filter, which exists as long as somebody holds it."""
        channel = self.hold(wanted)
        try:
            yield channel
        finally:
            self.release(channel)

    def hold(self, wanted: TopicFilter) -> Channel:
        """Like `open`, for those who cannot use a block: to be paired with `release`."""
        channel = self._channels.get(wanted)
        if channel is None:
            channel = self._channels[wanted] = Channel(wanted, self.head)
            for pattern in wanted.patterns:
                self._by_pattern.setdefault(pattern, []).append(channel)
        channel.holders += 1
        return channel

    def release(self, channel: Channel) -> None:
        """Give a held channel up; it ends with its last holder."""
        channel.holders -= 1
        if channel.holders:
            return
        del self._channels[channel.wanted]
        for pattern in channel.wanted.patterns:
            self._by_pattern[pattern].remove(channel)
            if not self._by_pattern[pattern]:
                del self._by_pattern[pattern]

    def _channels_of(self, topic: str) -> Collection[Channel]:
        channels = self._by_pattern
        return dict.fromkeys(channel for pattern in patterns_of(topic) for channel in channels.get(pattern, ()))

    def _remember(self, entry: Entry) -> None:
        size = entry.message.size
        self._window.append((entry, size))
        self._window_bytes += size
        while len(self._window) > 1 and (self._window_bytes > WINDOW_BYTES or len(self._window) > WINDOW_MESSAGES):
            oldest, size = self._window.popleft()
            self._window_bytes -= size
            for channel in self._channels_of(oldest.message.topic):
                channel.forget(oldest)
