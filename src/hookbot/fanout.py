"""The fan-out: plain websocket subscribers, without a task for any of them.

A subscriber is *live* while the messages that it wants are in its channel: one task writes each batch to all of them,
the same bytes to all who listen in the same way. One that is further behind reads the log, in a task of its own, and
comes back (*catching up*). One that takes nothing costs nothing: it is looked at again when its socket is writable.
"""

import logging
import socket
from collections.abc import Iterator, MutableMapping, Sequence

import trio

from .broker import Broker, Gap, Start
from .channels import Channel, Entry
from .errors import Unavailable
from .framing import Framing, HookbotV1, framing_for, hello
from .listening import Listening
from .message import format_id
from .poller import Poller
from .subscriber import Subscriber
from .topics import TopicFilter
from .websocket import BINARY, GOING_AWAY, TEXT, TRY_AGAIN_LATER, frame

SEND_BYTES = 128 << 10  # joined for one send, and so the most that is kept for a subscriber who is slow
ROUND_COST = 4 << 20  # then the loop gets a turn, after about 5 ms: a send costs as much as copying 16 KiB
SEND_COST = 16 << 10
LARGE_BODY = 256 << 10  # encoded in a thread
SWEEP_S = 1.0
GOODBYE_S = 5.0

Sends = MutableMapping[int, tuple[bytes, int] | None]
"""What follows a position, and the position after it: made once for all who stand at the same place."""

logger = logging.getLogger(__name__)


class Group:
    """All subscribers of one channel in one format: they are sent the same bytes."""

    def __init__(self, channel: Channel, framing: Framing, fanout: "Fanout") -> None:
        self.channel = channel
        self.framing = framing
        self.subscribers: dict[Subscriber, None] = {}
        self._fanout = fanout
        self._opcode = TEXT if framing.text else BINARY
        self._key = "websocket", framing.key

    def wake(self) -> None:
        """Called by the broker when the channel has news."""
        self._fanout.mark(self)

    def frame(self, payload: bytes) -> bytes:
        """A payload of this format as a websocket frame."""
        return frame(self._opcode, payload)

    def frames(self, entries: Sequence[Entry]) -> Iterator[tuple[bytes, int]]:
        """The entries as sends of about `SEND_BYTES`, each with the position that it reaches."""
        parts: list[bytes] = []
        size = 0
        for entry in entries:
            part = entry.frames.get(self._key)
            if part is None:
                part = entry.frames[self._key] = self._encode(entry)
            parts.append(part)
            size += len(part)
            if size >= SEND_BYTES or entry is entries[-1]:
                yield (parts[0] if len(parts) == 1 else b"".join(parts)), entry.position
                parts, size = [], 0

    async def prepare(self, entries: Sequence[Entry]) -> None:
        """Encode large ones in a thread, so that they do not hold up everybody else."""
        for entry in entries:
            if len(entry.message.body) > LARGE_BODY and self._key not in entry.frames:
                entry.frames[self._key] = await trio.to_thread.run_sync(self._encode, entry)

    def next_send(self, position: int) -> tuple[bytes, int] | None:
        """What follows `position` in the channel, if anything does."""
        return next(self.frames(self.channel.after(position)), None)

    def _encode(self, entry: Entry) -> bytes:
        return self.frame(self.framing.message(entry.message))


class Fanout:
    """All subscribers in the poller. `adopt` hands it a socket; `run` does the rest."""

    def __init__(
        self, broker: Broker, poller: Poller, *, heartbeat_s: float, ping_s: float, deaf_s: float, stall_s: float
    ) -> None:
        self._broker = broker
        self._poller = poller
        self._heartbeat_s = heartbeat_s
        self._ping_s = ping_s
        self._deaf_s = deaf_s
        self._stall_s = stall_s
        self._groups: dict[tuple[TopicFilter, object], Group] = {}
        self._subscribers: dict[Subscriber, Group] = {}
        self._dirty: dict[Group, None] = {}
        self._news = trio.Event()
        self._empty = trio.Event()
        self._nursery: trio.Nursery | None = None

    def __len__(self) -> int:
        return len(self._subscribers)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Send until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self._sweep)
            task_status.started()
            while True:
                await self._news.wait()
                self._news = trio.Event()
                while self._dirty:
                    await self._deliver(self._dirty.popitem()[0])

    def adopt(self, sock: socket.socket, listening: Listening, start: Start, *, early: bytes = b"") -> None:
        """Take over the socket of a subscriber whose handshake was answered; `early` came behind the handshake."""
        group = self._join(listening)
        subscriber = Subscriber(sock, self._poller, self, start.position)
        group.subscribers[subscriber] = None
        self._subscribers[subscriber] = group
        if isinstance(group.framing, HookbotV1):
            subscriber.send(group.frame(group.framing.hello(hello(listening, self._broker.log.epoch, start))))
        if start.gap:
            self._send_gap(subscriber, group, start.gap)
        self._advance(subscriber, group, {})
        if early and subscriber.open:
            subscriber.received(early)

    async def close(self, deadline: float) -> None:
        """Say goodbye to everybody (1001), and wait until they have left or for `deadline`."""
        self._empty = trio.Event()
        for subscriber in tuple(self._subscribers):
            subscriber.close(GOING_AWAY, "the hub is shutting down; reconnect and resume")
        with trio.move_on_at(deadline):
            while self._subscribers:
                await self._empty.wait()
        for subscriber in tuple(self._subscribers):
            subscriber.end("the hub shut down")

    def mark(self, group: Group) -> None:
        """There may be something to send to a group."""
        self._dirty[group] = None
        self._news.set()

    def writable(self, subscriber: Subscriber) -> None:
        """Called by a subscriber that was stalled."""
        subscriber.settle()
        self._advance(subscriber, self._subscribers[subscriber], {})

    def gone(self, subscriber: Subscriber, reason: str) -> None:
        """Called by a subscriber whose socket is closed."""
        group = self._subscribers.pop(subscriber)
        logger.debug("a subscriber of %s left: %s", group.channel.wanted, reason)
        del group.subscribers[subscriber]
        if not group.subscribers:
            self._leave(group)
        if not self._subscribers:
            self._empty.set()

    async def _deliver(self, group: Group) -> None:
        await group.prepare(group.channel.entries[-1:])
        sends: Sends = {}
        cost = 0
        for subscriber in tuple(group.subscribers):
            if not subscriber.busy:
                cost += self._advance(subscriber, group, sends)
                if cost > ROUND_COST:
                    cost = 0
                    await trio.lowlevel.checkpoint()
        await trio.lowlevel.checkpoint()

    def _advance(self, subscriber: Subscriber, group: Group, sends: Sends) -> int:
        """Send what it takes now of what it misses; returns what that cost."""
        cost = 0
        while not subscriber.busy:
            position = subscriber.position
            if position < group.channel.floor:
                self._start_catching_up(subscriber, group)
                break
            try:
                send = sends[position]
            except KeyError:
                send = sends[position] = group.next_send(position)
            if send is None:
                break
            data, subscriber.position = send
            subscriber.send(data)
            cost += SEND_COST + len(data)
        return cost

    def _start_catching_up(self, subscriber: Subscriber, group: Group) -> None:
        if self._nursery:
            subscriber.catching_up = subscriber.busy = True
            self._nursery.start_soon(self._catch_up, subscriber, group)

    async def _catch_up(self, subscriber: Subscriber, group: Group) -> None:
        try:
            while subscriber.takes and subscriber.position < group.channel.floor:
                await self._send_page(subscriber, group)
        except Unavailable as error:
            subscriber.close(TRY_AGAIN_LATER, str(error))
        subscriber.catching_up = False
        subscriber.settle()
        if subscriber.open:
            self._advance(subscriber, group, {})

    async def _send_page(self, subscriber: Subscriber, group: Group) -> None:
        wanted = group.channel.wanted
        position = subscriber.position
        entries, next_after = await self._broker.read(wanted, after=position)
        await group.prepare(entries)
        gap = self._broker.gap_after(wanted, position)
        if gap:
            self._send_gap(subscriber, group, gap)
        for data, reached in group.frames(entries):
            if not subscriber.takes:
                return
            subscriber.position = reached
            subscriber.send(data)
        subscriber.position = max(next_after, self._broker.log.lost_up_to(wanted))

    def _send_gap(self, subscriber: Subscriber, group: Group, gap: Gap) -> None:
        if not subscriber.takes:
            return
        payload = group.framing.gap(gap)
        if payload is None:
            reason = f"messages before {gap.before} are no longer kept ({gap.reason})"
            logger.warning("a raw subscriber of %s fell behind: %s", group.channel.wanted, reason)
            subscriber.close(TRY_AGAIN_LATER, reason)
        else:
            subscriber.send(group.frame(payload))

    async def _sweep(self) -> None:
        while True:
            await trio.sleep(SWEEP_S)
            for n, (subscriber, group) in enumerate(tuple(self._subscribers.items()), 1):
                if subscriber.open:
                    self._look_after(subscriber, group)
                if n % 1000 == 0:
                    await trio.lowlevel.checkpoint()

    def _look_after(self, subscriber: Subscriber, group: Group) -> None:
        now = trio.current_time()
        if subscriber.closing_since is not None:
            if now - subscriber.closing_since > GOODBYE_S:
                subscriber.end("did not say goodbye")
        elif subscriber.stalled and now - subscriber.moved_at > self._stall_s:
            logger.info("a subscriber of %s took nothing for %.0f s", group.channel.wanted, self._stall_s)
            subscriber.end("stalled")
        elif now - subscriber.received_at > self._deaf_s:
            subscriber.end(f"nothing came from it for {self._deaf_s:.0f} s")
        elif not subscriber.stalled and now - subscriber.pinged_at > self._ping_s:
            subscriber.ping()
        elif not subscriber.busy and now - subscriber.sent_at > self._heartbeat_s:
            self._send_heartbeat(subscriber, group)

    def _send_heartbeat(self, subscriber: Subscriber, group: Group) -> None:
        """Everything of this subscription up to the head has been sent: a resuming client starts from here."""
        head = self._broker.head
        if group.next_send(subscriber.position) is None and subscriber.position <= head:
            payload = group.framing.heartbeat(format_id(self._broker.log.epoch, head))
            if payload is not None:
                subscriber.position = head
                subscriber.send(group.frame(payload))

    def _join(self, listening: Listening) -> Group:
        framing = framing_for(listening)
        key = listening.wanted, framing.key
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = Group(self._broker.channels.hold(listening.wanted), framing, self)
            group.channel.listeners.add(group.wake)
        return group

    def _leave(self, group: Group) -> None:
        group.channel.listeners.discard(group.wake)
        self._broker.channels.release(group.channel)
        del self._groups[group.channel.wanted, group.framing.key]
