"""The follower of the PostgreSQL log: it tells what any hub has stored, in order, once.

What this hub has stored is told as it was stored, when everything before it has been told; only what others have
stored is read.
"""

import logging
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Sequence

import trio

from ..errors import Unavailable
from ..protocol.message import Message
from .contract import News, Tell
from .postgres_errors import reason

# Further behind than this, subscribers read what they want themselves, each at its own pace.
FAR = 20_000
# A notification may be lost: this often, the log is looked at without one.
POLL_S = 1.0

logger = logging.getLogger(__package__)

Load = Callable[[int, int | None], Awaitable[tuple[Sequence[Message], int, int]]]
"""Reads messages after a position, up to one if it is given: the oldest of those before a failover, where all of these
end, and the position of the newest of all."""


class Follower:
    """Position up to which everything was told, and the way on from there."""

    def __init__(self, load: Load, tell: Tell, told: int) -> None:
        self.told = told
        self._load = load
        self._tell_all = tell
        self._own: deque[News] = deque()
        """Batches of this hub before which something was not told yet."""
        self._wanted = trio.Event()
        self._deleted: set[int] = set()
        """Positions of messages that were deleted before they were told."""
        self.caught_up_at = trio.current_time()

    def stored(self, news: News) -> None:
        """Tell a batch of this hub: at once, unless another hub has stored something before it."""
        self._own.append(news)
        self._tell_own()
        if self._own:
            self.wake()

    def skip_to(self, position: int) -> None:
        """Leave everything up to a position to those who read it."""
        if position > self.told:
            self._tell(News(position, [], position))

    def forget(self, is_lost: Callable[[int], object]) -> None:
        """Forget the batches of this hub that were not told yet and follow a position that is lost."""
        self._own = deque(news for news in self._own if not is_lost(news.after))

    def forget_deleted(self, positions: Collection[int]) -> None:
        """Do not tell messages that are deleted by now, also if they were loaded or stored before."""
        self._deleted.update(position for position in positions if position > self.told)

    def wake(self) -> None:
        """End the wait of `wanted`."""
        self._wanted.set()

    async def wanted(self, within_s: float) -> None:
        """Wait until there is a reason to `catch_up`, at most for some time."""
        with trio.move_on_after(within_s):
            await self._wanted.wait()
        self._wanted = trio.Event()

    async def keep_up(self) -> None:
        """Tell what is stored, as soon as there is a reason to look, until cancelled."""
        failing = ""
        while True:
            try:
                await self.catch_up()
            except Unavailable as error:
                # Not at each attempt. This is where the operator learns why the server cannot be reached.
                if (why := reason(error)) != failing:
                    failing = why
                    logger.error("following the log fails: %s", why)
            else:
                if failing:
                    logger.info("following the log works again")
                failing, self.caught_up_at = "", trio.current_time()
            await self.wanted(POLL_S)

    async def catch_up(self) -> None:
        """Tell everything that anybody has stored until now. Raises `Unavailable`."""
        while True:
            # The batches of this hub are not read back: only what is before the first of them.
            up_to = self._own[0].after if self._own else None
            messages, end, newest = await self._load(self.told, up_to)
            if end - self.told > FAR:
                self.skip_to(end)
            else:
                self._tell_from_here(messages, messages[-1].position if messages else end)
            self._tell_own()
            if up_to is None and self.told >= newest and not self._own:
                return

    def _tell_own(self) -> None:
        while self._own and self._own[0].after <= self.told:
            news = self._own.popleft()
            self._tell_from_here(news.messages, news.head, news.began)

    def _tell_from_here(self, messages: Sequence[Message], end: int, began: float = 0.0) -> None:
        """Tell messages, without those that were told while they were loaded or stored."""
        if end > self.told:
            untold = [message for message in messages if message.position > self.told]
            if self._deleted:
                untold = [message for message in untold if message.position not in self._deleted]
                self._deleted = {position for position in self._deleted if position > end}
            self._tell(News(self.told, untold, end, began))

    def _tell(self, news: News) -> None:
        self.told = news.head
        self._tell_all(news)
