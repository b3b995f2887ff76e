"""Catching up: stored messages for subscribers of the fan-out that are behind what is in memory."""

import logging
from collections.abc import Sequence

import trio

from ...broker.broker import Broker
from ...broker.channels import Entry
from ...protocol.message import Gap
from ...protocol.websocket import TRY_AGAIN_LATER
from ..streams import history_lost
from .audience import Audience
from .subscriber import Subscriber

logger = logging.getLogger(__package__)


class CatchUp:
    """Sender of stored messages, page by page; `reading` is the semaphore of all who read pages."""

    def __init__(self, broker: Broker, reading: trio.Semaphore) -> None:
        self._broker = broker
        self._reading = reading

    async def run(self, subscriber: Subscriber, audience: Audience) -> None:
        """Send a subscriber what is stored, until it takes no more or the rest is in memory. Raises `Unavailable`."""
        while subscriber.takes and subscriber.position < audience.channel.floor:
            await self._send_page(subscriber, audience)

    async def _send_page(self, subscriber: Subscriber, audience: Audience) -> None:
        # Those who wait for their turn stay in step, so that each page of the log is read once for all of them.
        async with self._reading:
            items, end = await self._broker.read_on(audience.channel.wanted, subscriber.position)
            entries: Sequence[Entry] = [item for item in items if isinstance(item, Entry)]
            # A gap can only be the first item: retention deletes the oldest messages.
            if len(entries) < len(items) and isinstance(gap := items[0], Gap) and subscriber.takes:
                subscriber.position = gap.position
                _tell_gap(subscriber, audience, gap)
            while entries and subscriber.takes:
                if entries[0].is_large:
                    async with self._broker.frames.encoding:
                        await audience.prepare(entries[0])
                        entries = _send_ready(subscriber, audience, entries)
                else:
                    entries = _send_ready(subscriber, audience, entries)
            if not entries:
                subscriber.position = end


def close_at_gap(subscriber: Subscriber, audience: Audience, gap: Gap) -> None:
    """Close a subscription whose format cannot express a gap, so that no message is lost silently."""
    lost = history_lost(gap)
    logger.warning("closing a subscriber of %s: its format has no gaps: %s", audience.channel.wanted, lost)
    subscriber.close(TRY_AGAIN_LATER, str(lost))


def _tell_gap(subscriber: Subscriber, audience: Audience, gap: Gap) -> None:
    payload = audience.framing.gap(gap)
    if payload is None:
        close_at_gap(subscriber, audience, gap)
    else:
        subscriber.send(audience.frame(payload))


def _send_ready(subscriber: Subscriber, audience: Audience, entries: Sequence[Entry]) -> Sequence[Entry]:
    """Send the entries up to the first large one that is not prepared, as long as they are taken; return the rest."""
    for send in audience.sends(entries):
        if not subscriber.takes:
            break
        subscriber.position = send.reached
        subscriber.send(send.data, send.header)
    return [entry for entry in entries if entry.position > subscriber.position]
