"""The fan-out: sends messages to websocket subscribers, without a task for each.

A subscriber is *live* while the messages that it wants are in its channel: each batch is written to all live ones as
soon as it is announced, the same bytes to a whole audience, and one task goes on with what takes longer than a turn.
One that is further behind is *catching up*: a task of its own reads the log until it is live again. A stalled one costs
nothing until its socket becomes writable.
"""

import logging
import socket
from functools import partial
from time import perf_counter
from typing import NoReturn

import trio

from ...access.admitted import AdmittedSubscription
from ...broker.starts import Start
from ...errors import Unavailable, describe
from ...protocol.frames import HookbotV1, hello
from ...protocol.message import format_id
from ...protocol.websocket import INTERNAL_ERROR, TRY_AGAIN_LATER
from ..held_bytes import CUT_OFF
from ..limits import ConnectionLimits
from ..services import Services
from ..streams import SHUTTING_DOWN
from .audience import Audience, Audiences
from .catch_up import CatchUp
from .epoll import EpollLoop
from .keepalive import Keepalive
from .subscriber import Subscriber

# Work in one turn, between two checkpoints, in bytes: about 5 ms, so that publishes and pings are not held up.
ROUND_COST = 4 << 20

# A system call to send costs about as much as copying 16 KiB.
SEND_COST = 16 << 10

logger = logging.getLogger(__package__)


class Fanout:
    """The subscribers in the epoll loop: `adopt` adds one, and `run` sends to all of them.

    An unexpected error while one of them is served closes that one, with 1011, and no other.
    """

    def __init__(self, services: Services, epoll: EpollLoop, limits: ConnectionLimits) -> None:
        self.limits = limits
        self._broker = services.broker
        self._active = services.access.active
        self._held = services.streams.held
        self._catch_up = CatchUp(services.broker, services.streams.reading)
        self._epoll = epoll
        self._audiences = Audiences(services.broker.channels, self._start_preparing)
        self._news = self._audiences.news
        self._subscribers: dict[Subscriber, Audience] = {}
        self._keepalive = Keepalive(services, limits, self._subscribers, self._fail)
        self._has_more = trio.Event()
        """Set while deliveries are left to the task, because a turn was not enough."""
        self._empty = trio.Event()
        self._closing = False
        self._nursery: trio.Nursery

    def __len__(self) -> int:
        return len(self._subscribers)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
        """Send new messages, pings and heartbeats, and end subscribers that exceed a limit, until cancelled."""
        after_batch = self._broker.channels.after_batch
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self._keepalive.run)
            after_batch.append(self._deliver_news)
            task_status.started()
            try:
                while True:
                    await self._has_more.wait()
                    self._has_more = trio.Event()
                    self._deliver_news()
            finally:
                after_batch.remove(self._deliver_news)
                self._broker.flow.close()

    def adopt(
        self, sock: socket.socket, admitted: AdmittedSubscription, start: Start, *, upgrade: bytes, early: bytes
    ) -> None:
        """Take over a socket as a subscriber: send the handshake's response `upgrade`, then everything after `start`.

        `early` are the bytes that the client sent after its handshake.
        """
        audience = self._audiences.join(admitted.request)
        subscriber = Subscriber(sock, self._epoll, self, start.position, admitted, request=audience)
        subscriber.told = start.told
        audience.subscribers[subscriber] = None
        self._subscribers[subscriber] = audience
        self._active.add(subscriber)
        try:
            if isinstance(audience.framing, HookbotV1):
                upgrade += audience.frame(hello(admitted.request, format_id(self._broker.log.epoch, start.position)))
            if start.gap:
                self._catch_up.tell_gap(subscriber, audience, start.gap, before=upgrade)
            else:
                subscriber.send(upgrade)
        except Exception as error:  # noqa: BLE001
            self._fail(audience, error, subscriber)
        if self._closing:
            subscriber.dismiss(SHUTTING_DOWN)
        self._advance(subscriber, audience)
        if early and subscriber.open:
            subscriber.received(early)

    async def close(self, deadline: float) -> None:
        """Send a close frame (1001) to all; cut those that have not left in `linger_s`, or at `deadline`."""
        self._closing = True
        for subscriber in tuple(self._subscribers):
            subscriber.dismiss(SHUTTING_DOWN)
        # Not `close_s`: who wants to publish waits for the next hub, and among many subscribers some are always gone.
        with trio.move_on_at(min(deadline, trio.current_time() + self.limits.linger_s)):
            while self._subscribers:
                self._empty = trio.Event()
                await self._empty.wait()
        self.cut()

    def cut(self) -> None:
        """Close the sockets of all subscribers at once."""
        for subscriber in tuple(self._subscribers):
            subscriber.end("the hub shut down")

    def holds(self, subscriber: Subscriber, rest: memoryview) -> None:
        """Count what waits for a stalled subscriber: all that was sent, because the rest keeps it in memory."""
        sent: bytes = rest.obj  # type: ignore[assignment]
        cut = partial(subscriber.end, str(CUT_OFF))
        self._held.hold(subscriber, sent, len(sent), what=subscriber.request.wanted, cut=cut)

    def skip_unwanted(self, subscriber: Subscriber) -> int:
        """Move a subscriber that has everything to the head, and return its position."""
        subscriber.position = self._subscribers[subscriber].skip_unwanted(subscriber.position, self._broker.head)
        return subscriber.position

    def taken(self, subscriber: Subscriber) -> None:
        """Continue with a subscriber that was stalled."""
        self._held.release(subscriber)
        subscriber.update_busy()
        self._advance(subscriber, self._subscribers[subscriber])

    def gone(self, subscriber: Subscriber, reason: str) -> None:
        """Forget a subscriber whose socket was closed."""
        audience = self._subscribers.pop(subscriber)
        self._held.release(subscriber)
        self._active.remove(subscriber)
        logger.debug("a subscriber left: %s", reason, extra={"client": subscriber.client})
        self._audiences.leave(audience, subscriber)
        if not self._subscribers:
            self._empty.set()

    def _deliver_news(self) -> None:
        """Deliver to the audiences that have news, in turn, until `ROUND_COST`; the rest is left to the task."""
        if self._has_more.is_set():
            return
        news, left, now = self._news, ROUND_COST, trio.current_time()
        while news and left > 0:
            audience = news.popleft()
            cost = self._deliver(audience, left, now)
            left -= cost
            if cost and audience.has_more:
                news.append(audience)
                if not audience.waiting:
                    self._broker.channels.continue_delivery(audience.channel, audience.position)
            else:
                audience.queued = False
                self._broker.channels.end_delivery(audience.channel)
        if news:
            self._has_more.set()
        self._broker.flow.admit()

    def _deliver(self, audience: Audience, budget: int, now: float) -> int:
        """Send frames to as many of those who wait for them as the budget is for; return the cost, 0 if there are none.

        An error of the format is one for the whole audience.
        """
        try:
            send = audience.begin(now)
        except Exception as error:  # noqa: BLE001
            self._fail_all(audience, error)
            return 0
        if send is None:
            return 0
        data, first, reached, messages, header, began = send
        start = audience.start
        cost = SEND_COST + len(data)
        part = audience.take(budget // cost + 1)
        sent = 0
        for subscriber in part:
            # Of those who are not where most are, each has its own next message.
            try:
                if subscriber.busy:
                    continue
                if start <= subscriber.position < first:
                    # As in `CatchUp.send`, of which this does for all of them at once what it can.
                    subscriber.position = reached
                    subscriber.send(data, header)
                    sent += 1
                elif subscriber.position < reached:
                    self._advance(subscriber, audience)
            except Exception as error:  # noqa: BLE001
                self._fail(audience, error, subscriber)
        counts = self._broker.counts
        counts.delivered_in[audience.format].add(sent * messages, sent * (len(data) + len(header)))
        if began:
            counts.tell_times.add(perf_counter() - began, sent * messages)
        return len(part) * cost

    def _advance(self, subscriber: Subscriber, audience: Audience) -> None:
        """Send a subscriber as much as it takes now; start a task for what has to be read or prepared first."""
        try:
            if subscriber.busy:
                return
            if subscriber.position < audience.channel.floor:
                subscriber.catching_up = subscriber.busy = True
                self._nursery.start_soon(self._run_catch_up, subscriber, audience)
                return
            subscriber.sent_at = trio.current_time()
            while not subscriber.busy and (send := audience.next_send(subscriber.position)):
                self._catch_up.send(subscriber, audience, send)
        except Exception as error:  # noqa: BLE001
            self._fail(audience, error, subscriber)

    def _start_preparing(self, audience: Audience, position: int) -> None:
        audience.channel.deliveries += 1
        self._nursery.start_soon(self._prepare, audience, position)

    async def _prepare(self, audience: Audience, position: int) -> None:
        async with self._broker.frames.encoding:
            # Looked up after the wait, so that those who wait hold no messages. It may have left memory: then its
            # subscribers read the log.
            entry = audience.channel.at(position)
            try:
                if entry:
                    await audience.prepare(entry)
            except Exception as error:  # noqa: BLE001
                # Those who wait for this message would wait for ever.
                self._fail_all(audience, error)
            else:
                # For those who do not have it yet, whether they wait with the others or are behind them.
                audience.position = min(audience.position, position - 1)
            audience.preparing.discard(position)
            audience.wake()
            self._broker.channels.end_delivery(audience.channel)
            self._deliver_news()
            while audience.queued and audience.position < position:
                await trio.lowlevel.checkpoint()
                self._deliver_news()

    async def _run_catch_up(self, subscriber: Subscriber, audience: Audience) -> None:
        try:
            await self._catch_up.run(subscriber, audience)
        except Unavailable as error:
            subscriber.close(TRY_AGAIN_LATER, str(error))
        except Exception as error:  # noqa: BLE001
            self._fail(audience, error, subscriber)
        subscriber.catching_up = False
        subscriber.update_busy()
        self._advance(subscriber, audience)

    def _fail_all(self, audience: Audience, error: Exception) -> None:
        self._fail(audience, error, *audience.subscribers)
        audience.skip()

    def _fail(self, audience: Audience, error: Exception, *subscribers: Subscriber) -> None:
        """Close subscribers of an audience because of a bug in the hub."""
        why = audience.wanted, describe(error)
        logger.error("subscribers of %s cannot be served; they are closed with 1011: %s", *why, exc_info=error)
        for subscriber in subscribers:
            subscriber.close(INTERNAL_ERROR, "the hub failed")
