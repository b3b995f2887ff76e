"""The connections to the file of the SQLite log, each used by one thread at a time."""

import errno
import os
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

import trio

from ..errors import Damaged, Unavailable
from ..threads import hub_threads
from .sqlite_errors import GARBLED, is_full, raise_unless_damage, unavailable
from .sqlite_file import LogFile, give_back

T = TypeVar("T")


class Connections:
    """Runs work in threads, on the connection that writes or on one of those that read.

    The errors of work that fails are `Unavailable`; they are `Damaged` if the work has met damage.
    """

    def __init__(self, file: LogFile) -> None:
        self._file = file
        self._gone = ""
        """Reason why nothing is written any more, if the file was found to be gone."""
        self._readers = list(file.readers)
        # A task waits for a connection here, without occupying one of Trio's threads.
        self._may_write = trio.CapacityLimiter(1)
        self._may_read = trio.CapacityLimiter(len(self._readers))

    async def store(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Result of work that needs more space. It fails while the disk has no room for the reserve."""

        def store(writer: sqlite3.Connection) -> T:
            self._file.reserve.hold()
            return work(writer)

        return await self._write(store)

    async def free(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Result of work that frees space. If it fails, as on a full disk, the reserve is given up for it."""

        def free(writer: sqlite3.Connection) -> T:
            try:
                return work(writer)
            except sqlite3.OperationalError:
                # A full disk has several errors, and a disk that fails otherwise fails again.
                self._file.reserve.release()
                # Moves what is in the write-ahead log into the file, so that the log is written from its start again.
                with suppress(sqlite3.OperationalError):
                    writer.execute("PRAGMA wal_checkpoint(PASSIVE)")
                return work(writer)

        return await self._write(free)

    async def give_back(self) -> bool:
        """Return one step of the free pages to the disk, or to the reserve. True if there may be more."""
        return await self.free(self._give_back)

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Result of work that only reads."""

        def borrow() -> T:
            reader = self._readers.pop()
            try:
                self._file.protect()
                return work(reader)
            finally:
                self._readers.append(reader)

        try:
            return await trio.to_thread.run_sync(borrow, limiter=self._may_read)
        except (*GARBLED, OSError) as error:
            raise unavailable("read", error) from error

    async def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        def write() -> T:
            self._check_file(self._file.check)
            try:
                return work(self._file.writer)
            finally:
                # After the commit: whatever is in a file that is gone by now must not be acknowledged.
                self._check_file(self._file.accept)

        try:
            if self._file.only_read:
                await self._open_for_writing()
            return await trio.to_thread.run_sync(write, limiter=self._may_write)
        except (*GARBLED, OSError) as error:
            # A garbled page number beyond the file's largest is reported as a full disk.
            if is_full(error) and self._file.reserve.has_room():
                raise Damaged(f"the hub cannot write to its log: {error}, although the disk has room") from error
            raise unavailable("write to", error) from error

    async def _open_for_writing(self) -> None:
        with trio.CancelScope(shield=True):
            async with self._may_write, self._may_read:
                if self._file.only_read:
                    self._file = await trio.to_thread.run_sync(self._file.open_for_writing, limiter=hub_threads())
                    self._readers = list(self._file.readers)
                    self._may_read.total_tokens = len(self._readers)
        if self._file.only_read:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _check_file(self, check: Callable[[], None]) -> None:
        """Raise `Unavailable` from the moment on when the file was found to be gone, even if another appears."""
        if self._gone:
            raise Unavailable(self._gone)
        try:
            check()
        except Unavailable as error:
            self._gone = str(error)
            raise

    def _give_back(self, writer: sqlite3.Connection) -> bool:
        reserve = self._file.reserve
        try:
            more = give_back(writer, keep_spare=reserve.held)
        except (sqlite3.DatabaseError, MemoryError) as error:
            raise_unless_damage(error)
            # Pages that cannot be given back are used again.
            more = False
        if not more:
            with suppress(OSError):
                reserve.hold()
        return more
