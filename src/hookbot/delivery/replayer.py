"""Replays: stored messages delivered again, up to a time, at their original pace or a multiple of it."""

import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Self

import trio

from ..client import Gap, Publisher
from ..client.errors import HOPELESS, retry_after
from ..errors import HookbotError
from ..protocol.message import Headers, Message
from .outcome import Failed, Outcome


class Replay:
    """The messages of a subscription up to and including the time `until_us`, and its gaps.

    They come at `speed` times their original pace, or without waiting if it is None.
    """

    def __init__(self, messages: AsyncIterator[Message | Gap], until_us: int | None, speed: float | None) -> None:
        self._messages = messages
        self._until_us = until_us
        self._speed = speed
        self._first: tuple[int, float] | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message | Gap:
        """The next message, once it is due, or gap. Cancelling may drop a message, which then stays unacknowledged."""
        item = await anext(self._messages)
        if isinstance(item, Message):
            if self._until_us is not None and item.time_us > self._until_us:
                raise StopAsyncIteration
            await self._wait_for_turn(item)
        return item

    async def _wait_for_turn(self, message: Message) -> None:
        # Counted from the first message, and not from the previous one, so that delays do not add up.
        first_us, began = self._first = self._first or (message.time_us, trio.current_time())
        if self._speed is not None:
            await trio.sleep_until(began + (message.time_us - first_us) / 1e6 / self._speed)


class Republisher:
    """A publisher of bodies and headers of messages; `headers` replace those of the same names. Queries are dropped.

    It publishes a message once, however many attempts that takes. Another `Republisher` publishes it again.
    """

    def __init__(self, publisher: Publisher, headers: Headers, hop: str) -> None:
        self._publisher = publisher
        self._headers = headers
        self._hop = hop
        self._run = uuid.uuid4().hex
        self._has_published = False

    async def publish(self, message: Message, attempt: int) -> Outcome:
        """Publish the message. After `Failed`, the message may be stored nevertheless.

        Raises `Failed`, or one of `HOPELESS` if nothing was published yet: it would be the same for every message.
        """
        headers = with_headers(message, self._headers).headers
        hops = (*message.hops, self._hop)
        # Without an id, nothing tells an attempt from another message.
        key = f"{self._run}:{message.id}" if message.id else None
        try:
            id = await self._publisher.publish(message.body, headers=headers, idempotency_key=key, hops=hops)
        except HookbotError as error:
            if isinstance(error, HOPELESS) and not self._has_published:
                raise
            raise Failed(Outcome(str(error)), retry_after_s=retry_after(error)) from None
        self._has_published = True
        return Outcome(f"published as {id}")


def with_headers(message: Message, headers: Headers) -> Message:
    """The message with these headers, which replace those of the same names."""
    replaced = {name.lower() for name, _ in headers}
    kept = [(name, value) for name, value in message.headers if name.lower() not in replaced]
    return replace(message, headers=(*kept, *headers))
