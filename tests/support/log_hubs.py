"""Hubs of a log that several share, as far as the log knows them: what each was told, and was answered."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import trio

from hookbot.callbacks import result_of
from hookbot.errors import Unavailable
from hookbot.log.contract import News, Unit
from hookbot.log.postgres import PostgresLog
from hookbot.protocol.message import Draft, Message

GUARD_S = 60


class Hub:
    """A hub's log, and what it was told."""

    def __init__(self, log: PostgresLog) -> None:
        self.log = log
        self.news: list[News] = []
        self._told = trio.Event()
        log.follow(self._tell)

    def _tell(self, news: News) -> None:
        self.news.append(news)
        self._told.set()
        self._told = trio.Event()

    @property
    def positions(self) -> list[int]:
        return [message.position for news in self.news for message in news.messages]

    async def until_told(self, position: int) -> None:
        with trio.fail_after(GUARD_S):
            while self.log.head < position:
                await self._told.wait()

    async def results(self, units: Sequence[Unit]) -> Sequence[Any]:
        """Results of units that are stored in one batch."""
        return await result_of(partial(self.log.store, units))

    async def store(self, *topics: str) -> list[int]:
        """Positions of an empty message on each topic."""
        outcomes = await self.log.append([Draft(topic) for topic in topics])
        return [outcome.position for outcome in outcomes if isinstance(outcome, Message)]


@asynccontextmanager
async def publishing(hub: Hub) -> AsyncIterator[tuple[list[int], Callable[[], Awaitable[None]]]]:
    """Positions that were acknowledged to a publisher that goes on until the block ends, and a wait for another one."""
    acked: list[int] = []
    ended = False
    again = trio.Event()

    async def publish() -> None:
        nonlocal again
        while not ended:
            try:
                acked.extend(await hub.store("a"))
            except Unavailable:
                await trio.sleep(0.05)
            again.set()
            again = trio.Event()

    async def works() -> None:
        before = len(acked)
        with trio.fail_after(GUARD_S):
            while len(acked) < before + 3:
                await again.wait()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(publish)
        yield acked, works
        ended = True
