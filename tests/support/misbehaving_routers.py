"""Routers that copy what they read, and ones that do something bad first."""

from collections.abc import Callable
from typing import Any

import trio

from hookbot.protocol.message import Message
from hookbot.routers.outbox import DraftCollector


class Copy:
    """Publishes what it reads on `copy`."""

    name = "copy"
    topics = ("in/",)

    async def route(self, message: Message, publish: DraftCollector) -> None:
        await publish("copy", message)


class Misbehaving(Copy):
    """Does something else first, for bodies that say `bad`."""

    def __init__(self, how: Callable[..., Any], times: int = 1000) -> None:
        self.how = how
        self.times = times

    async def route(self, message: Message, publish: DraftCollector) -> None:
        if message.body == b"bad" and self.times:
            self.times -= 1
            await self.how(publish)
        await publish("copy", message)


async def raise_error(publish: DraftCollector) -> None:
    await publish("copy", b"half done")
    raise OSError("no such luck")


async def hang(publish: DraftCollector) -> None:
    await trio.sleep_forever()
