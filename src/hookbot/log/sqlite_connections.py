"""The connections to the file of the SQLite log: one that writes, in a thread of its own, and a few that read."""

import errno
import os
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from queue import LifoQueue

import trio

from ..callbacks import Callback, T, result_of
from ..errors import Damaged, Unavailable
from .sqlite_deletion import empty_write_ahead_log
from .sqlite_errors import GARBLED, is_full, raise_unless_damage, unavailable
from .sqlite_file import READERS, LogFile, give_back
from .sqlite_unused import UnusedSpace
from .writer_thread import WriterThread


class Connections:
    """Does work in threads, on the connection that writes or on one of those that read.

    The errors of work that fails are `Unavailable`; they are `Damaged` if the work has met damage.
    """

    def __init__(self, file: LogFile, thread: WriterThread) -> None:
        self._file = file
        self._thread = thread
        self._unused = UnusedSpace() if file.was_killed else None
        """Unused space that is to be overwritten, while any file may have something of what was deleted."""
        self._gone = ""
        """Reason why nothing is written any more, if the file was found to be gone."""
        # The one that was used last has the pages in its cache that are read next.
        self._readers: LifoQueue[sqlite3.Connection] = LifoQueue()
        self._offer_readers()
        # A task waits for a connection here, without occupying one of Trio's threads.
        self._may_read = trio.CapacityLimiter(READERS)

    def store_soon(self, work: Callable[[sqlite3.Connection], T], done: Callback[T]) -> None:
        """Do work that needs more space, and call `done`. It fails while the disk has no room for the reserve."""

        def store() -> T:
            self._file.reserve.hold()
            return work(self._file.writer)

        self._write_soon(store, done)

    async def store(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Result of work as for `store_soon`."""
        return await result_of(partial(self.store_soon, work))

    async def free(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Result of work that frees space. If it fails, as on a full disk, the reserve is given up for it."""

        def free() -> T:
            try:
                return work(self._file.writer)
            except sqlite3.OperationalError:
                # A full disk has several errors, and a disk that fails otherwise fails again.
                self._file.reserve.release()
                # Moves what is in the write-ahead log into the file, so that the log is written from its start again.
                with suppress(sqlite3.OperationalError):
                    self._file.writer.execute("PRAGMA wal_checkpoint(PASSIVE)")
                return work(self._file.writer)

        return await result_of(partial(self._write_soon, free))

    async def give_back(self) -> bool:
        """Return one step of the free pages to the disk, or to the reserve. True if there may be more."""
        return await self.free(self._give_back)

    @property
    def must_erase(self) -> bool:
        """True while any file may have something of what was deleted."""
        return bool(self._unused)

    @property
    def is_erasing(self) -> bool:
        """True while a part of it is erased, and `erase` goes on behind that."""
        return bool(self._unused and self._unused.began)

    def has_deleted(self) -> None:
        """Note that somebody deletes messages: `erase` begins again."""
        self._unused = UnusedSpace()

    async def erase(self, *, wait_s: float) -> bool:
        """Remove one step of what any file has of deleted messages. True if there is more.

        For another process that reads the file it waits a moment, and then raises `Unavailable`.
        """
        # From the beginning, if it fails: meanwhile, retention goes on.
        unused, self._unused = self._unused or UnusedSpace(), UnusedSpace()

        def erase(writer: sqlite3.Connection) -> bool:
            if self._give_back(writer, keep_spare=False):
                return True
            self._empty_log(writer, wait_s)
            return unused.overwrite_step(self._file)

        more = await self.free(erase)
        self._unused = unused if more else None
        return more

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Result of work that only reads."""

        def borrow() -> T:
            # While the file can only be read, there is only one.
            reader = self._readers.get()
            try:
                self._file.protect()
                return work(reader)
            finally:
                self._readers.put(reader)

        try:
            return await trio.to_thread.run_sync(borrow, limiter=self._may_read)
        except (*GARBLED, OSError) as error:
            raise unavailable("read", error) from error

    def _write_soon(self, work: Callable[[], T], done: Callback[T]) -> None:
        def write() -> T:
            try:
                if self._file.only_read:
                    self._open_for_writing()
                self._check_file(self._file.check)
                try:
                    return work()
                finally:
                    # After the commit: whatever is in a file that is gone by now must not be acknowledged.
                    self._check_file(self._file.accept)
            except (*GARBLED, OSError) as error:
                # A garbled page number beyond the file's largest is reported as a full disk.
                if is_full(error) and self._file.reserve.has_room():
                    raise Damaged(f"the hub cannot write to its log: {error}, although the disk has room") from error
                raise unavailable("write to", error) from error

        self._thread.start(write, done)

    def _open_for_writing(self) -> None:
        # From now on, nobody reads: there is no other.
        self._readers.get()
        try:
            self._file = self._file.open_for_writing()
        finally:
            self._offer_readers()
        if self._file.only_read:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _offer_readers(self) -> None:
        for reader in self._file.readers:
            self._readers.put(reader)

    def _empty_log(self, writer: sqlite3.Connection, wait_s: float) -> None:
        # A reader would keep the checkpoint from its end; its cache has pages, too.
        readers = [self._readers.get() for _ in self._file.readers]
        try:
            for reader in readers:
                reader.execute("PRAGMA shrink_memory")
            empty_write_ahead_log(writer, wait_s)
        finally:
            self._offer_readers()

    def _check_file(self, check: Callable[[], None]) -> None:
        """Raise `Unavailable` from the moment on when the file was found to be gone, even if another appears."""
        if self._gone:
            raise Unavailable(self._gone)
        try:
            check()
        except Unavailable as error:
            self._gone = str(error)
            raise

    def _give_back(self, writer: sqlite3.Connection, *, keep_spare: bool = True) -> bool:
        reserve = self._file.reserve
        try:
            more = give_back(writer, keep_spare=keep_spare and reserve.held)
        except (sqlite3.DatabaseError, MemoryError) as error:
            raise_unless_damage(error)
            # Pages that cannot be given back are used again.
            more = False
        if not more:
            with suppress(OSError):
                reserve.hold()
        return more
