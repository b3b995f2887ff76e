"""What a router has published, on its way into the log."""

import logging
from collections.abc import Sequence

import trio

from ..backoff import Backoff
from ..broker.broker import Broker
from ..errors import Unavailable
from ..protocol.message import Draft

MAX_WAITING = 1000
MAX_WAITING_BYTES = 8 << 20

logger = logging.getLogger(__name__)


class Outbox:
    """Commits what was published for whole messages, together with the position up to which that is all.

    While one commit is under way the next collects, so that a router with a backlog is not held up by the
    disk; there is never more than one, so that a later one cannot overtake one that failed.
    """

    def __init__(self, broker: Broker, cursor: str, position: int) -> None:
        self.position = position
        """Up to here everything was put in."""
        self.committed = position
        """Up to here everything is in the log."""
        self._broker = broker
        self._cursor = cursor
        self._drafts: list[Draft] = []
        self._bytes = 0
        self._news = trio.Event()
        self._taken = trio.Event()

    async def put(self, drafts: Sequence[Draft], position: int) -> None:
        """Hand over everything that was published for the messages up to `position`; waits while much is waiting."""
        while len(self._drafts) >= MAX_WAITING or self._bytes >= MAX_WAITING_BYTES:
            await self._taken.wait()
        self._drafts.extend(drafts)
        self._bytes += sum(draft.size for draft in drafts)
        self.position = position
        self._news.set()

    async def run(self) -> None:
        """Commit what is put in, until cancelled. What the log cannot take now is tried again until it can."""
        while True:
            await self._news.wait()
            drafts, position = self._drafts, self.position
            self._drafts, self._bytes, self._news = [], 0, trio.Event()
            self._taken.set()
            self._taken = trio.Event()
            await self._commit(drafts, position)
            self.committed = position

    async def _commit(self, drafts: Sequence[Draft], position: int) -> None:
        backoff = Backoff(0.1, 5)
        while True:
            try:
                await self._broker.commit(drafts, cursors={self._cursor: position})
            except Unavailable as error:
                delay_s = backoff.next_s()
                logger.warning("%s: not stored, trying again in %.1f s: %s", self._cursor, delay_s, error)
                await trio.sleep(delay_s)
            else:
                return
