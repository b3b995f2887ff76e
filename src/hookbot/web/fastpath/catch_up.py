"""Catching up: stored messages for subscribers of the fan-out that are behind what is in memory."""

import logging
from collections.abc import Sequence

import trio

from ...broker.broker import Broker
from ...broker.channels import Entry
from ...protocol.message import Gap
from ...protocol.websocket import TRY_AGAIN_LATER
from ..page_turns import PageTurns
from ..streams import history_lost
from .audience import Audience, Send, runs
from .subscriber import Subscriber

logger = logging.getLogger(__package__)


class CatchUp:
    """Sender of stored messages, page by page; `reading` is shared by all who read pages."""

    def __init__(self, broker: Broker, reading: PageTurns) -> None:
        self._broker = broker
        self._reading = reading

    async def run(self, subscriber: Subscriber, audience: Audience) -> None:
        """Send a subscriber what is stored, until it takes no more or the rest is in memory. Raises `Unavailable`."""
        while subscriber.takes and subscriber.position < audience.channel.floor:
            await self._send_page(subscriber, audience)

    def tell_gap(self, subscriber: Subscriber, audience: Audience, gap: Gap, *, before: bytes = b"") -> None:
        """Send a gap, in one send with the bytes `before`: the socket may take no second one.

        A subscription whose format has none is closed behind them, so that no message is lost silently.
        """
        self._broker.counts.gaps[gap.reason] += 1
        payload = audience.framing.gap(gap)
        subscriber.send(before if payload is None else before + audience.frame(payload))
        if payload is None:
            lost = history_lost(gap)
            logger.warning("closing a subscriber of %s: its format has no gaps: %s", audience.channel.wanted, lost)
            subscriber.close(TRY_AGAIN_LATER, str(lost))

    def send(self, subscriber: Subscriber, audience: Audience, send: Send) -> None:
        """Send a subscriber its next messages."""
        # The position moves before the send: what the socket does not take now is kept, and sent first.
        subscriber.position = send.reached
        self._broker.counts.delivered_in[audience.format].add(send.messages, send.size)
        subscriber.send(send.data, send.header)

    async def _send_page(self, subscriber: Subscriber, audience: Audience) -> None:
        async with self._reading:
            wanted, position = audience.channel.wanted, subscriber.position
            items, end, told = await self._broker.read_on(wanted, position, subscriber.told)
            # It may have ended or stalled meanwhile.
            if not subscriber.takes:
                return
            subscriber.told, deletions = told, self._broker.deletions.number
            entries: Sequence[Entry] = [item for item in items if isinstance(item, Entry)]
            # A gap can only be the first item.
            if len(entries) < len(items) and isinstance(gap := items[0], Gap):
                self.tell_gap(subscriber, audience, gap)
            for run in runs(entries):
                # What was deleted meanwhile may be among the rest.
                if self._broker.deletions.number != deletions:
                    return
                await self._send_run(subscriber, audience, run)
            if not entries or subscriber.position == entries[-1].position:
                subscriber.position = end

    async def _send_run(self, subscriber: Subscriber, audience: Audience, run: Sequence[Entry]) -> None:
        if not subscriber.takes:
            return
        if run[0].is_large:
            async with self._broker.frames.encoding:
                large = await audience.prepare(run[0])
                # Meanwhile its connection may have ended or stalled.
                if subscriber.takes:
                    self.send(subscriber, audience, large)
        else:
            self.send(subscriber, audience, audience.stored(run))
            # To encode as much in a rich format takes some milliseconds.
            await trio.lowlevel.checkpoint()
