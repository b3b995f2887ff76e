"""Audiences: subscribers to the same topics in the same format, who share frames that are encoded once."""

from collections import deque
from collections.abc import Hashable, Iterator, Sequence
from math import inf
from typing import NamedTuple

from ...broker.channels import Channel, Channels, Entry
from ...protocol.frames import Framing, framing_for
from ...protocol.message import Message
from ...protocol.subscribe import SubscribeRequest
from ...protocol.topics import TopicFilter
from ...protocol.websocket import BINARY, TEXT, frame, frame_header, frames
from .subscriber import Subscriber

# Frames are joined for one send until they reach this size: a system call costs as much as copying 16 KiB. The hub
# keeps at most one send for a slow subscriber; everything after it stays in the log.
SEND_BYTES = 128 << 10


class Send(NamedTuple):
    """Whole frames, and the positions of the first and the last message in them; of a large one, the header by itself.

    Without data, it is for nobody: all who are behind `reached` have to be served one by one.
    """

    data: bytes
    first: int
    reached: int
    header: bytes = b""


class Audience:
    """The subscribers of one channel in one format, and the frames that they are sent.

    A delivery is under way while some of the subscribers are `waiting` for the frames of `begin`.
    """

    def __init__(self, channel: Channel, framing: Framing, news: deque["Audience"]) -> None:
        self.channel = channel
        self.framing = framing
        self.subscribers: dict[Subscriber, None] = {}
        self.unprepared: set[int] = set()
        """Positions of large messages for which subscribers wait until a thread has encoded them. Not the messages:
        they may leave memory meanwhile."""
        self.queued = False
        """True while the audience is among those with news."""
        self.start = self.position = channel.newest
        """Positions before and after the frames of the newest delivery: who is in step goes from one to the other. Who
        joined or could take nothing meanwhile has a position of their own. If `position` is set back, messages after
        it are delivered once more, to those who do not have them."""
        self.waiting: Sequence[Subscriber] = ()
        self.sent_at = -inf
        """Time of the newest delivery, on Trio's clock."""
        self._send: Send | None = None
        self._listeners = 0
        self._news = news
        self._opcode = TEXT if framing.text else BINARY
        self._key = "websocket", framing.key

    def wake(self) -> None:
        """Queue the audience for the sending of new messages. The broker calls it when the channel has some."""
        if not self.queued:
            self.queued = True
            self._news.append(self)

    @property
    def has_more(self) -> bool:
        """True if a delivery is under way, or newer messages follow it."""
        return bool(self.waiting) or self.position < self.channel.newest

    def begin(self, now: float) -> Send | None:
        """The frames of the delivery that is under way or begins now; None if there are none, or none is prepared.

        After an error, the subscribers are served one by one, and each meets it.
        """
        if self.waiting:
            return self._send
        self._send = None
        self.waiting = [subscriber for subscriber in self.subscribers if not subscriber.busy]
        self.count_listeners(len(self.waiting))
        if not self.waiting:
            self.position = self.channel.newest
            return None
        self.start = max(self.position, self.channel.floor)
        try:
            self._send = self.next_send(self.start)
        except Exception:  # noqa: BLE001
            self._send = Send(b"", self.start, self.channel.newest)
        if self._send is None and self.position < self.start:
            self._send = Send(b"", self.start, self.start)
        if self._send is None:
            self.waiting = ()
        else:
            self.position = self._send.reached
            self.sent_at = now
        return self._send

    def count_listeners(self, listeners: int) -> None:
        """Tell the channel how many subscribers are in step."""
        self.channel.listeners += listeners - self._listeners
        self._listeners = listeners

    def frame(self, payload: bytes) -> bytes:
        """The websocket frame around a payload of this format."""
        return frame(self._opcode, payload)

    def next_send(self, position: int) -> Send | None:
        """The next frames after `position`; None if there are none, or if the first message is now in `unprepared`.

        `position` must not be below the channel's floor.
        """
        entries = self.channel.after(position)
        if len(entries) == 1 and not entries[0].is_large:
            position = entries[0].position
            return Send(entries[0].frame(self._key, self._encode), position, position)
        send = next(self.sends(entries), None)
        if send is None and entries:
            self.unprepared.add(entries[0].position)
        return send

    def sends(self, entries: Sequence[Entry]) -> Iterator[Send]:
        """The frames of the entries, joined to about `SEND_BYTES` each; a large one is sent alone, and not copied.

        Stops at a large one that is not prepared.
        """
        parts: list[bytes] = []
        size = first = reached = 0
        for entry in entries:
            part = self._part(entry)
            if parts and (part is None or entry.is_large or size + len(part) > SEND_BYTES):
                yield Send(_join(parts), first, reached)
                parts, size = [], 0
            if part is None:
                return
            position = entry.position
            if entry.is_large:
                yield Send(part, position, position, frame_header(self._opcode, len(part)))
            else:
                first = first if parts else position
                parts.append(part)
                size, reached = size + len(part), position
        if parts:
            yield Send(_join(parts), first, reached)

    def frames(self, entries: Sequence[Entry]) -> bytes:
        """The frames of entries that are not large, joined, and kept as one for others who read the same page."""
        return entries[0].frame((self._key, len(entries)), lambda _: self._encode_all(entries))

    def _part(self, entry: Entry) -> bytes | None:
        """Bytes to send for an entry: a whole frame, or the payload of a large one; None if that is not prepared."""
        if entry.is_large:
            return entry.ready_frame(self.framing.key, self.framing.message)
        return entry.frame(self._key, self._encode)

    def is_complete_at(self, position: int) -> bool:
        """True if no message of the channel follows `position`, neither in memory nor in the log."""
        return position >= self.channel.floor and not self.channel.after(position)

    async def prepare(self, entry: Entry) -> None:
        """Encode a large entry in a thread, for a caller that holds its cache's lock `encoding` until it is sent."""
        await entry.prepare_now(self.framing.key, self.framing.message)

    def _encode_all(self, entries: Sequence[Entry]) -> bytes:
        return frames(self._opcode, [self.framing.message(entry.message) for entry in entries])

    def _encode(self, message: Message) -> bytes:
        return self.frame(self.framing.message(message))


class Audiences:
    """The audiences that have subscribers, by filter and format."""

    def __init__(self, channels: Channels) -> None:
        self.news: deque[Audience] = deque()
        """Audiences with new messages: those to be served first are first."""
        self._channels = channels
        self._audiences: dict[tuple[TopicFilter, Hashable], Audience] = {}

    def join(self, request: SubscribeRequest) -> Audience:
        """The audience for a request, created for its first subscriber; `leave` it after the last."""
        framing = framing_for(request)
        key = request.wanted, framing.key
        audience = self._audiences.get(key)
        if audience is None:
            channel = self._channels.hold(request.wanted)
            audience = self._audiences[key] = Audience(channel, framing, self.news)
            channel.wakers.add(audience.wake)
        return audience

    def leave(self, audience: Audience) -> None:
        """Remove an audience without subscribers, and release its channel."""
        audience.count_listeners(0)
        audience.channel.wakers.discard(audience.wake)
        self._channels.release(audience.channel)
        del self._audiences[audience.channel.wanted, audience.framing.key]


def _join(parts: Sequence[bytes]) -> bytes:
    return parts[0] if len(parts) == 1 else b"".join(parts)
