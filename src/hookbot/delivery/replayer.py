"""A replay: history once more, up to a moment, and at the pace at which it happened, or a multiple of it."""

from collections.abc import AsyncIterator
from typing import Self

import trio

from ..client import Gap, Publisher
from ..client.errors import HOPELESS
from ..errors import HookbotError
from ..protocol.message import Headers, Message
from .worker import Failed


class Replay:
    """The messages of a subscription until `until_us`; with a `speed`, each as long after the first as it was then."""

    def __init__(self, messages: AsyncIterator[Message | Gap], until_us: int | None, speed: float | None) -> None:
        self._messages = messages
        self._until_us = until_us
        self._speed = speed
        self._first: tuple[int, float] | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message | Gap:
        """The next one, when it is time for it."""
        item = await anext(self._messages)
        if isinstance(item, Message):
            if self._until_us is not None and item.time_us > self._until_us:
                raise StopAsyncIteration
            await self._wait_for_turn(item)
        return item

    async def _wait_for_turn(self, message: Message) -> None:
        first_us, began = self._first = self._first or (message.time_us, trio.current_time())
        if self._speed is not None:
            await trio.sleep_until(began + (message.time_us - first_us) / 1e6 / self._speed)


class Republisher:
    """A publisher of messages as they were, but for `headers`, which replace those of the same names."""

    def __init__(self, publisher: Publisher, headers: Headers, hop: str) -> None:
        self._publisher = publisher
        self._headers = headers
        self._hop = hop

    async def publish(self, message: Message, attempt: int) -> str:
        """One attempt. What would be refused for every message is raised as it is."""
        replaced = {name.lower() for name, _ in self._headers}
        kept = [(name, value) for name, value in message.headers if name.lower() not in replaced]
        hops = (*message.hops, self._hop)
        try:
            id = await self._publisher.publish(message.body, headers=(*kept, *self._headers), hops=hops)
        except HOPELESS:
            raise
        except HookbotError as error:
            raise Failed(str(error)) from None
        return f"published as {id}"
