"""The follower of the PostgreSQL log: it tells what any hub has stored, in order, once.

What this hub has stored is told as it was stored, when everything before it has been told; only what others have
stored is read.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Sequence

import trio

from ..protocol.message import Message
from .contract import News, Tell

# Further behind than this, subscribers read what they want themselves, each at its own pace.
FAR = 20_000

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

    def wake(self) -> None:
        """End the wait of `wanted`."""
        self._wanted.set()

    async def wanted(self, within_s: float) -> None:
        """Wait until there is a reason to `catch_up`, at most for some time."""
        with trio.move_on_after(within_s):
            await self._wanted.wait()
        self._wanted = trio.Event()

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
            self._tell(News(self.told, untold, end, began))

    def _tell(self, news: News) -> None:
        self.told = news.head
        self._tell_all(news)
