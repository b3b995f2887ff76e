"""The keepalive of the fan-out: pings and heartbeats, and the end of connections that are not alive any more."""

import logging
from collections.abc import Callable, Mapping
from typing import NoReturn

import trio

from ...access.active_subscriptions import subscription_fields
from ...protocol.message import format_id
from ..limits import ConnectionLimits
from ..services import Services
from .audience import Audience
from .subscriber import Subscriber

logger = logging.getLogger(__package__)


class Keepalive:
    """The keepalive of some subscribers, by their audiences. An unexpected error at one of them is given to `fail`."""

    def __init__(
        self,
        services: Services,
        limits: ConnectionLimits,
        subscribers: Mapping[Subscriber, Audience],
        fail: Callable[[Audience, Exception, Subscriber], None],
    ) -> None:
        self._broker = services.broker
        self._heartbeat_s = services.streams.heartbeat_s
        self._limits = limits
        self._subscribers = subscribers
        self._fail = fail

    async def run(self) -> NoReturn:
        """Look after each in turn, every `sweep_s`, until cancelled."""
        while True:
            await trio.sleep(self._limits.sweep_s)
            now = trio.current_time()
            for n, (subscriber, audience) in enumerate(tuple(self._subscribers.items()), 1):
                try:
                    if subscriber.open:
                        self._look_after(subscriber, audience, now)
                except Exception as error:  # noqa: BLE001
                    self._fail(audience, error, subscriber)
                if n % self._limits.sweep_step == 0:
                    await trio.lowlevel.checkpoint()
                    now = trio.current_time()

    def _look_after(self, subscriber: Subscriber, audience: Audience, now: float) -> None:
        if reason := subscriber.overdue(now):
            if subscriber.stalled and subscriber.closing_since is None:
                logger.info("a subscriber is cut off: it %s", reason, extra=subscription_fields(subscriber))
            subscriber.end(reason)
        elif subscriber.takes:
            if now - subscriber.pinged_at > self._limits.ping_s:
                subscriber.ping()
            if not subscriber.busy and now - max(subscriber.sent_at, audience.sent_at) > self._heartbeat_s:
                self._send_heartbeat(subscriber, audience)

    def _send_heartbeat(self, subscriber: Subscriber, audience: Audience) -> None:
        """Send a subscriber that has everything a heartbeat, if its format has one."""
        if subscriber.skip_unwanted() == self._broker.head:
            subscriber.sent_at = trio.current_time()
            payload = audience.framing.heartbeat(format_id(self._broker.log.epoch, subscriber.position))
            if payload is not None:
                subscriber.send(audience.frame(payload))
