"""Unused space in the pages of the SQLite log: the copies of rows that are in it are overwritten. It runs in threads.

SQLite overwrites a row that it deletes. But when it moves rows within a page or to its neighbours, as for what is
deleted by retention, it may leave copies in the gap before the rows of a page, and behind the end of a body in the last
of its own pages. No statement reaches these. So they are overwritten in the file itself, as its format describes them
(https://www.sqlite.org/fileformat2.html), while nothing is in the write-ahead log or a cache, and nobody writes. Even
after a crash meanwhile, the file is whole: none of these bytes has a meaning.
"""

import os
import struct
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from sys import maxsize

from .sqlite_file import LogFile
from .sqlite_queries import transaction
from .sqlite_rows import with_breaks

# Those that have, or may have in the last pages of a row, what was in a message. Those before the last have positions.
_TABLES = ("body", "log", "cursor")
# Read at once: at each system call, a busy event loop may keep the interpreter for milliseconds.
_BLOCK_BYTES = 256 << 10
_STEP_CALLS = 128
_STEP_PAGES = 2048
# Between two steps, what is appended may exchange pages with those next to it.
_OVERLAP = 8
_INNER_INDEX, _INNER_TABLE, _LEAF_INDEX, _LEAF_TABLE = 2, 5, 10, 13
_INNER = _INNER_INDEX, _INNER_TABLE
_KINDS = *_INNER, _LEAF_INDEX, _LEAF_TABLE
# Bytes that SQLite takes as a row.
_MOST = 1 << 31


class UnusedSpace:
    """The unused space of the log's file, overwritten in steps. Between these, retention must not move any rows."""

    def __init__(self) -> None:
        self._tables = iter(_TABLES)
        self._table = next(self._tables)
        self._after = 0
        self._last = -1
        """Newest position at the first step: what is appended later fills new pages."""
        self.began = False
        """True after the first step."""

    def overwrite_step(self, file: LogFile) -> bool:
        """Overwrite some, right after the write-ahead log was emptied; True if there is more."""
        self.began = True
        file.writer.execute("PRAGMA shrink_memory")
        with transaction(file.writer):
            _, ahead, _ = file.files
            # Otherwise somebody else has just written.
            if not ahead.size:
                if self._last < 0:
                    [[self._last]] = file.writer.execute("SELECT coalesce(max(position), 0) FROM log")
                query = "SELECT rootpage FROM sqlite_master WHERE name = ?"
                [[root]] = file.writer.execute(query, (self._table,))
                [[page_bytes]] = file.writer.execute("PRAGMA page_size")
                self._go_on(_Pages(file.descriptor, page_bytes), root)
        return bool(self._table)

    def _go_on(self, pages: "_Pages", root: int) -> None:
        walked = deque([self._after], maxlen=_OVERLAP)
        for count, (after, number, page) in enumerate(with_breaks(pages.walk(root, self._after, self._last)), start=1):
            pages.overwrite(number, page)
            walked.append(after)
            if (pages.calls >= _STEP_CALLS or count >= _STEP_PAGES) and self._after < walked[0]:
                self._after = walked[0]
                break
        else:
            self._table, self._after = next(self._tables, ""), 0
        pages.sync()


class _Pages:
    """Pages of a file, as they are on disk. What damage has garbled is left alone."""

    def __init__(self, descriptor: int, page_bytes: int) -> None:
        self._descriptor = descriptor
        self._page_bytes = page_bytes
        self._blocks: dict[int, bytes] = {}
        self._is_changed = False
        self.calls = 0
        """System calls until now."""
        # The rest of each page is reserved for extensions.
        self._usable = page_bytes - self._read(1)[20]

    def walk(self, root: int, after: int, last: int) -> Iterator[tuple[int, int, bytes]]:
        """Pages of the table at `root` in order, each after which position: those from one to another position.

        Next to the last one, a few more follow.
        """
        seen, more = set(), _OVERLAP
        rest = [(0, maxsize, root)]
        while rest:
            low, high, number = rest.pop()
            more -= low > last
            if more < 0:
                return
            if high >= after and number not in seen:
                seen.add(number)
                page = self._read(number)
                yield low, number, page
                if page[0] in _INNER:
                    rest += reversed([*self._children(page, low, high)])

    def overwrite(self, number: int, page: bytes) -> None:
        """Overwrite the unused space of a page of a table, and that behind the end of its rows."""
        start, end, rows = self._layout(page)
        if end - start:
            self._clear(number, page, start, end)
        if page[0] == _INNER_TABLE:
            return
        if page[0] == _INNER_INDEX:
            rows = [row + 4 for row in rows if row + 6 <= self._usable]
        most = self._usable - 35 if page[0] == _LEAF_TABLE else (self._usable - 12) * 64 // 255 - 23
        # A row begins with its length: that of a longer one has a larger first byte of two, or more bytes.
        larger = 0x80 | most >> 7
        for row in [row for row in rows if page[row] > 0x7F and (page[row] >= larger or page[row + 1] > 0x7F)]:
            self._clear_end(page, row, most)

    def sync(self) -> None:
        """Have what was overwritten on the disk."""
        if self._is_changed:
            os.fdatasync(self._descriptor)

    def _children(self, page: bytes, low: int, high: int) -> Iterator[tuple[int, int, int]]:
        """Pages beneath one, each after and up to which position. Those of an index have none."""
        _, _, rows = self._layout(page)
        for row in rows:
            up_to = _number_at(page, row + 4)[0] if page[0] == _INNER_TABLE else high
            yield low, up_to, _integer(page, row)
            low = up_to if page[0] == _INNER_TABLE else low
        yield low, high, _integer(page, 8)

    def _layout(self, page: bytes) -> tuple[int, int, Sequence[int]]:
        """Begin and end of the gap of a page, and begins of its rows; none of them, if it is no page of a table."""
        kind, count, end = page[0], page[3] << 8 | page[4], page[5] << 8 | page[6]
        head = 12 if kind in _INNER else 8
        start = head + 2 * count
        if kind in _KINDS and start <= end <= self._usable:
            rows = struct.unpack_from(f">{count}H", page, head)
            # Each row has four bytes or more.
            if not rows or (end <= min(rows) and max(rows) <= self._usable - 4):
                return start, end, rows
        return 0, 0, ()

    def _clear_end(self, page: bytes, row: int, most: int) -> None:
        """Overwrite what is behind the end of a row of which at most so much is in its table."""
        length, at = _number_at(page, row)
        if page[0] == _LEAF_TABLE:
            _, at = _number_at(page, at)
        least = (self._usable - 12) * 32 // 255 - 23
        each = self._usable - 4
        # Where as much of a row stays in the table as fills the last of its own pages, nothing is behind it.
        if not most < length < _MOST or least + (length - least) % each <= most:
            return
        number = _integer(page, at + least)
        for _ in range((length - least) // each):
            number = _integer(self._read(number), 0)
        last = self._read(number)
        if not _integer(last, 0):
            self._clear(number, last, 4 + (length - least) % each, self._usable)

    def _clear(self, number: int, page: bytes, start: int, end: int) -> None:
        if page[start:end] != bytes(end - start):
            os.pwrite(self._descriptor, bytes(end - start), (number - 1) * self._page_bytes + start)
            self._is_changed = True
            self.calls += 1

    def _read(self, number: int) -> bytes:
        """A page; zeros, if there is none with this number or it cannot be read."""
        offset = (number - 1) * self._page_bytes
        block, start = divmod(offset, _BLOCK_BYTES)
        if block not in self._blocks:
            self._blocks[block] = b""
            self.calls += 1
            with suppress(OSError):
                self._blocks[block] = os.pread(self._descriptor, _BLOCK_BYTES, block * _BLOCK_BYTES)
        page = self._blocks[block][start : start + self._page_bytes]
        return page if len(page) == self._page_bytes else bytes(self._page_bytes)


def _integer(page: bytes, at: int) -> int:
    return int.from_bytes(page[at : at + 4], "big")


def _number_at(page: bytes, at: int) -> tuple[int, int]:
    """A number of up to nine bytes as SQLite writes it, and where it ends."""
    number = 0
    for byte in page[at : at + 8]:
        at += 1
        number = number << 7 | byte & 0x7F
        if byte < 0x80:
            return number, at
    return number << 8 | int.from_bytes(page[at : at + 1], "big"), at + 1
