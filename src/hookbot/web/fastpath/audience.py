"""Audiences: subscribers to the same topics in the same format, who share frames that are encoded once."""

from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from math import inf
from typing import NamedTuple

from ...broker.channels import Channel, Channels, Entry
from ...protocol.frames import Framing, framing_for
from ...protocol.message import Message
from ...protocol.subscribe import Format, SubscribeRequest
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
    messages: int = 1
    header: bytes = b""
    began: float = 0.0
    """Time at which the first message was published, as in `Entry`."""

    @property
    def size(self) -> int:
        """Bytes that are sent."""
        return len(self.data) + len(self.header)


class Audience:
    """The subscribers of one channel in one format, and the frames that they are sent.

    A delivery is under way while some of the subscribers are `waiting` for the frames of `begin`.
    """

    __slots__ = (
        *("_key", "_listeners", "_opcode", "_prepare", "_queue", "_send", "channel", "format", "framing", "position"),
        *("preparing", "queued", "sent_at", "start", "subscribers", "waiting"),
    )

    # Who acknowledges is none of the fan-out.
    cursor = group = ""

    def __init__(
        self,
        channel: Channel,
        format: Format,
        framing: Framing,
        queue: "Callable[[Audience], None]",
        prepare: "Callable[[Audience, int], None]",
    ) -> None:
        self.channel = channel
        self.format = format
        self.framing = framing
        self.subscribers: dict[Subscriber, None] = {}
        self.preparing: set[int] = set()
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
        self._queue = queue
        self._prepare = prepare
        self._opcode = TEXT if framing.text else BINARY
        # A string remembers its hash.
        self._key = f"websocket {framing.key}"

    def wake(self) -> None:
        """Queue the audience for the sending of new messages. The broker calls it when the channel has some."""
        if not self.queued:
            self.queued = True
            self.channel.deliveries += 1
            self._queue(self)

    @property
    def wanted(self) -> TopicFilter:
        """The topics that its subscribers want."""
        return self.channel.wanted

    @property
    def has_more(self) -> bool:
        """True if a delivery is under way, or newer messages follow it."""
        return bool(self.waiting) or self.position < self.channel.newest

    def begin(self, now: float) -> Send | None:
        """The frames of the delivery that is under way or begins now; None if there are none, or none is prepared."""
        if self.waiting:
            return self._send
        waiting = [subscriber for subscriber in self.subscribers if not subscriber.busy]
        if len(waiting) != self._listeners:
            self.count_listeners(len(waiting))
        if not waiting:
            self.skip()
            return None
        start = self.start = max(self.position, self.channel.floor)
        send = self._send = self.next_send(start) or (Send(b"", start, start, 0) if self.position < start else None)
        if send:
            self.waiting, self.position, self.sent_at = waiting, send.reached, now
        return send

    def take(self, count: int) -> Sequence[Subscriber]:
        """The first of those who are waiting, which wait no more."""
        taken, self.waiting = self.waiting[:count], self.waiting[count:]
        if not self.waiting:
            # Until the next delivery, nothing keeps the frames: there may be an audience for each of many topics.
            self._send = None
        return taken

    def skip(self) -> None:
        """Deliver to nobody what the channel has now."""
        self.waiting, self._send, self.position = (), None, self.channel.newest

    def count_listeners(self, listeners: int) -> None:
        """Tell the channel how many subscribers are in step."""
        self.channel.listeners += listeners - self._listeners
        self._listeners = listeners

    def frame(self, payload: bytes) -> bytes:
        """The websocket frame around a payload of this format."""
        return frame(self._opcode, payload)

    def next_send(self, position: int) -> Send | None:
        """The next frames after `position`; None if there are none, or if a large message has to be prepared first.

        `position` must not be below the channel's floor.
        """
        entries = self.channel.after(position)
        if not entries:
            return None
        first = entries[0]
        if first.is_large:
            return self._next_large(first)
        if len(entries) == 1:
            return Send(first.frame(self._key, self._encode), first.position, first.position, began=first.began)
        run = next(runs(entries))
        parts = [entry.frame(self._key, self._encode) for entry in run]
        return Send(b"".join(parts), first.position, run[-1].position, len(run), began=first.began)

    def _next_large(self, entry: Entry) -> Send | None:
        payload = entry.ready_frame(self.framing.key)
        if payload is not None:
            return self._large(entry, payload)
        if entry.position not in self.preparing:
            self.preparing.add(entry.position)
            self._prepare(self, entry.position)
        return None

    def _large(self, entry: Entry, payload: bytes) -> Send:
        header = frame_header(self._opcode, len(payload))
        return Send(payload, entry.position, entry.position, header=header, began=entry.began)

    async def prepare(self, entry: Entry) -> Send:
        """Encode a large entry in a thread, for a caller that holds its cache's lock `encoding` until it is sent."""
        return self._large(entry, await entry.prepare_now(self.framing.key, self.framing.message))

    def stored(self, run: Sequence[Entry]) -> Send:
        """A run from the log that is not large; it is kept as one frame for others who read the same page."""
        data = run[0].frame((self._key, len(run)), lambda _: self._encode_all(run))
        return Send(data, run[0].position, run[-1].position, len(run))

    def skip_unwanted(self, position: int, head: int) -> int:
        """The position; or the head of the log, if no message of the channel is between them, nor in memory."""
        is_complete = position >= self.channel.floor and not self.channel.after(position)
        # The head may be behind a message that was sent.
        return max(position, head) if is_complete else position

    def _encode_all(self, entries: Sequence[Entry]) -> bytes:
        return frames(self._opcode, [self.framing.message(entry.message) for entry in entries])

    def _encode(self, message: Message) -> bytes:
        return self.frame(self.framing.message(message))


class Audiences:
    """The audiences that have subscribers, by filter and format; `prepare` is told of large messages to be encoded."""

    def __init__(self, channels: Channels, prepare: Callable[[Audience, int], None]) -> None:
        self.news: deque[Audience] = deque()
        """Audiences with new messages: those to be served first are first."""
        self._channels = channels
        self._prepare = prepare
        self._audiences: dict[tuple[TopicFilter, Hashable], Audience] = {}

    def join(self, request: SubscribeRequest) -> Audience:
        """The audience for a request, created for its first subscriber."""
        framing = framing_for(request)
        key = request.wanted, framing.key
        audience = self._audiences.get(key)
        if audience is None:
            channel = self._channels.hold(request.wanted)
            audience = self._audiences[key] = Audience(
                channel, request.format, framing, self.news.append, self._prepare
            )
            channel.wakers.add(audience.wake)
        return audience

    def leave(self, audience: Audience, subscriber: Subscriber) -> None:
        """Remove a subscriber from its audience, and with the last one the audience, whose channel is released."""
        del audience.subscribers[subscriber]
        if audience.subscribers:
            return
        audience.count_listeners(0)
        audience.channel.wakers.discard(audience.wake)
        self._channels.release(audience.channel)
        del self._audiences[audience.wanted, audience.framing.key]


def runs(entries: Sequence[Entry]) -> Iterator[Sequence[Entry]]:
    """Entries in runs of about `SEND_BYTES`, the same for all who are sent the same page; a large one is alone."""
    start = size = 0
    for number, entry in enumerate(entries):
        size += entry.message.size
        # A large one is larger than that by itself.
        if size > SEND_BYTES:
            if number > start:
                yield entries[start:number]
            start, size = number, entry.message.size
            if entry.is_large:
                yield entries[number : number + 1]
                start, size = number + 1, 0
    if start < len(entries):
        yield entries[start:]
