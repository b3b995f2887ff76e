"""The page cache: each page of the log is read once for all subscriptions that catch up around the same position."""

from bisect import bisect_right
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import trio

from ..log.contract import Log
from ..protocol.message import Gap
from ..protocol.topics import TopicFilter
from .channels import Entry
from .frame_cache import FrameCache
from .limits import BrokerLimits


@dataclass(slots=True, eq=False)
class _Page:
    """A page of messages after a position, up to and including `end`, which is -1 until the page has been read."""

    wanted: TopicFilter
    after: int
    number: int
    """Number of deletions before it was asked for."""
    entries: Sequence[Entry] = ()
    end: int = -1
    hole: str = ""
    size: int = 0

    def may_follow(self, wanted: TopicFilter, position: int) -> bool:
        """True if the page contains the messages after a position, or is still being read and may contain them."""
        return self.wanted == wanted and self.after <= position and (self.end < 0 or position < self.end)


class PageCache:
    """Most recently read pages of a log."""

    def __init__(self, log: Log, limits: BrokerLimits, cache: FrameCache) -> None:
        self._log = log
        self._limits = limits
        self._frames = cache
        self._pages: list[_Page] = []
        self._deletions = 0
        self._deleted_meanwhile: set[int] = set()
        """Positions of messages that were deleted since the last page began to be read."""
        self._reading = trio.Lock()
        """Held while a page is read: each may be a message of 25 MB."""

    async def read(self, wanted: TopicFilter, *, after: int) -> tuple[Sequence[Entry | Gap], int]:
        """Next messages after a position, and the position up to which they reach. Raises `Unavailable`.

        Instead of a hole there is one gap, and nothing else.
        """
        # Subscriptions before the oldest message kept all continue at that message, so they share a page.
        after = max(after, self._log.gone_up_to(wanted))
        while True:
            # Who comes back with an id of the hole is the only one to know that there was a message.
            if end := self._log.hole_after(after):
                return [Gap.between("failover", self._log.epoch, after, end)], end
            page = self._find(wanted, after)
            if page.end < 0:
                # One task reads, the others wait for it. If it fails or is cancelled, the next one reads.
                async with self._reading:
                    if page.end < 0:
                        await self._load(page)
            # Of one that is no longer here, nobody has taken out what was deleted.
            if page.number != self._deletions and page not in self._pages:
                continue
            # A page that was still being read when it was chosen may end before this position: choose again.
            if after == page.after or after < page.end:
                if page.hole:
                    return [Gap.between(page.hole, self._log.epoch, after, page.end)], page.end
                return _entries_after(page, after), page.end

    def forget(self, positions: Collection[int] | None) -> None:
        """Take out messages that were deleted, also from the page that is being read; all pages if they are unknown."""
        self._deletions += 1
        if positions is None:
            self._pages.clear()
            return
        self._deleted_meanwhile.update(positions)
        for page in self._pages:
            page.entries = [entry for entry in page.entries if entry.position not in positions]

    def _find(self, wanted: TopicFilter, after: int) -> _Page:
        for page in reversed(self._pages):
            if page.may_follow(wanted, after):
                return page
        self._pages.append(_Page(wanted, after, self._deletions))
        return self._pages[-1]

    async def _load(self, page: _Page) -> None:
        self._make_room()
        self._deleted_meanwhile.clear()
        read = await self._log.read(
            page.wanted, after=page.after, limit=self._limits.page_messages, max_bytes=self._limits.page_bytes
        )
        page.entries = [
            Entry(message, message.position, self._frames)
            for message in read.messages
            if message.position not in self._deleted_meanwhile
        ]
        page.size = sum(message.size for message in read.messages)
        page.hole = read.hole
        page.end = read.next_after

    def _make_room(self) -> None:
        """Forget the oldest pages, so that there is room for another one, also if it is as large as the largest."""
        del self._pages[: max(0, len(self._pages) - self._limits.cached_pages)]
        read = [page for page in self._pages if page.size]
        room = self._limits.cached_bytes - max((page.size for page in read), default=0)
        while read and sum(page.size for page in read) > room:
            self._pages.remove(read.pop(0))


def _entries_after(page: _Page, position: int) -> Sequence[Entry]:
    return page.entries[bisect_right(page.entries, position, key=lambda entry: entry.position) :]
