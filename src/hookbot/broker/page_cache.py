"""The page cache: pages of the log are read once for all who catch up at the same position."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field

import trio

from ..log.contract import Log
from ..protocol.topics import TopicFilter
from .channels import Entry

PAGE_MESSAGES = 512
PAGE_BYTES = 512 << 10
CACHED_PAGES = 8
CACHED_BYTES = 32 << 20  # or one page, of messages; with their frames it is a few times as much


@dataclass(slots=True, eq=False)
class _Page:
    """A page of a filter after a position, up to and including `end`, which is below 0 until it has been read."""

    wanted: TopicFilter
    after: int
    entries: Sequence[Entry] = ()
    end: int = -1
    size: int = 0
    reading: trio.Lock = field(default_factory=trio.Lock)

    def may_follow(self, wanted: TopicFilter, position: int) -> bool:
        """Whether it contains what follows a position, or will, perhaps."""
        return self.wanted == wanted and self.after <= position and (self.end < 0 or position < self.end)


class PageCache:
    """The pages of a log that were read last."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._pages: list[_Page] = []

    async def read(self, wanted: TopicFilter, *, after: int) -> tuple[Sequence[Entry], int]:
        """The next messages of `wanted` after a position, and the position that they reach. Raises `Unavailable`."""
        after = max(after, self._log.lost_up_to(wanted))
        while True:
            page = self._find(wanted, after)
            async with page.reading:
                if page.end < 0:
                    await self._load(page)
            if after == page.after or after < page.end:
                return _entries_after(page, after), page.end

    def _find(self, wanted: TopicFilter, after: int) -> _Page:
        for page in reversed(self._pages):
            if page.may_follow(wanted, after):
                return page
        self._pages.append(_Page(wanted, after))
        return self._pages[-1]

    @property
    def _size(self) -> int:
        return sum(page.size for page in self._pages)

    async def _load(self, page: _Page) -> None:
        read = await self._log.read(page.wanted, after=page.after, limit=PAGE_MESSAGES, max_bytes=PAGE_BYTES)
        page.entries = [Entry(message, message.position) for message in read.messages]
        page.size = sum(message.size for message in read.messages)
        page.end = read.next_after
        self._forget_oldest()

    def _forget_oldest(self) -> None:
        while len(self._pages) > CACHED_PAGES or (len(self._pages) > 1 and self._size > CACHED_BYTES):
            del self._pages[0]


def _entries_after(page: _Page, position: int) -> Sequence[Entry]:
    return page.entries[bisect_right(page.entries, position, key=lambda entry: entry.position) :]
