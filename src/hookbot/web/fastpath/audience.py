"""Audiences: all who listen to the same topics in the same format are sent the same bytes, which are made once."""

from collections.abc import Callable, Hashable, Iterator, Sequence

import trio

from ...broker.channels import Channel, Channels, Entry
from ...protocol.frames import Framing, framing_for
from ...protocol.message import Message
from ...protocol.subscribe import SubscribeRequest
from ...protocol.topics import TopicFilter
from ...protocol.websocket import BINARY, TEXT, frame
from .subscriber import Subscriber

SEND_BYTES = 128 << 10  # joined for one send, and so the most that is kept for a subscriber who is slow

Send = tuple[bytes, int]
"""Whole frames, and the position that they reach."""


class Audience:
    """The subscribers of one channel in one format."""

    def __init__(self, channel: Channel, framing: Framing, on_news: Callable[["Audience"], None]) -> None:
        self.channel = channel
        self.framing = framing
        self.subscribers: dict[Subscriber, None] = {}
        self.unprepared: dict[Entry, None] = {}
        """Large messages that stand in the way, to be prepared."""
        self._on_news = on_news
        self._opcode = TEXT if framing.text else BINARY
        self._key = "websocket", framing.key
        # Also where nothing is large: it keeps all who catch up in step, so that each page of the log is read once.
        self._preparing = trio.Lock()

    def wake(self) -> None:
        """Called by the broker when the channel has news."""
        self._on_news(self)

    def frame(self, payload: bytes) -> bytes:
        """A payload of this format as a websocket frame."""
        return frame(self._opcode, payload)

    def next_send(self, position: int) -> Send | None:
        """What follows `position`, not below the channel's floor; None if nothing does, or it is `unprepared`."""
        return next(self.sends(self.channel.after(position)), None)

    def sends(self, entries: Sequence[Entry]) -> Iterator[Send]:
        """The entries in pieces of about `SEND_BYTES`, up to a large one that is not prepared."""
        parts: list[bytes] = []
        size = reached = 0
        for entry in entries:
            part = entry.ready_frame(self._key, self._encode)
            if part is None:
                self.unprepared[entry] = None
                break
            parts.append(part)
            size, reached = size + len(part), entry.position
            if size >= SEND_BYTES:
                yield _join(parts), reached
                parts, size = [], 0
        if parts:
            yield _join(parts), reached

    def has_told_all(self, position: int) -> bool:
        """Whether there is nothing after `position`, neither here nor in the log."""
        return position >= self.channel.floor and not self.channel.after(position)

    async def prepare(self, entries: Sequence[Entry]) -> None:
        """Encode the large ones in a thread, so that they do not hold up everybody else."""
        async with self._preparing:
            for entry in entries:
                if not entry.is_ready(self._key):
                    await entry.prepare(self._key, self._encode)

    def _encode(self, message: Message) -> bytes:
        return self.frame(self.framing.message(message))


class Audiences:
    """All audiences with subscribers, by filter and format."""

    def __init__(self, channels: Channels, on_news: Callable[[Audience], None]) -> None:
        self._channels = channels
        self._on_news = on_news
        self._audiences: dict[tuple[TopicFilter, Hashable], Audience] = {}

    def join(self, request: SubscribeRequest) -> Audience:
        """The audience of a new subscriber; to be left when it has no subscribers any more."""
        framing = framing_for(request)
        key = request.wanted, framing.key
        audience = self._audiences.get(key)
        if audience is None:
            channel = self._channels.hold(request.wanted)
            audience = self._audiences[key] = Audience(channel, framing, self._on_news)
            channel.listeners.add(audience.wake)
        return audience

    def leave(self, audience: Audience) -> None:
        """The last subscriber has gone."""
        audience.channel.listeners.discard(audience.wake)
        self._channels.release(audience.channel)
        del self._audiences[audience.channel.wanted, audience.framing.key]


def _join(parts: Sequence[bytes]) -> bytes:
    return parts[0] if len(parts) == 1 else b"".join(parts)
