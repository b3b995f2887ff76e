"""Standard output and standard error, written by a thread each: a reader that has stopped holds up nobody."""

import atexit
import io
import os
import select
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any, TextIO

# Some seven thousand lines: far more than a reader that is merely slow leaves unread.
MAX_WAITING_BYTES = 1 << 20
# As much as a pipe takes at once (POSIX, PIPE_BUF on Linux): what a slow reader takes is seen as progress.
CHUNK_BYTES = 4096
# A reader that takes nothing for this long as the process ends has stopped.
STUCK_S = 0.25
LONGEST_DRAIN_S = 1.0


class BackgroundFile(io.RawIOBase):
    """A file descriptor that a daemon thread writes to. `write` never blocks.

    At most `MAX_WAITING_BYTES` wait; beyond that, writes are dropped. As soon as there is room again, the line that
    `report_loss` returns for the number of lines dropped is written in their place.
    """

    def __init__(self, file: int, report_loss: Callable[[int], str]) -> None:
        self._file = file
        self._report_loss = report_loss
        # Reentrant, since a signal handler may write while its thread does.
        self._changed = threading.Condition(threading.RLock())
        self._queue: list[bytes | int] = []
        """What waits to be written: chunks, and between them the numbers of lines that were dropped there."""
        self._waiting_bytes = 0
        self._failed_lines = 0
        """Lines that the descriptor has not taken since the last report: its reader is gone, or the disk is full."""
        threading.Thread(target=self._run, name=f"writer of {file}", daemon=True).start()

    def writable(self) -> bool:
        """True: for `io.TextIOWrapper`."""
        return True

    def fileno(self) -> int:
        """The descriptor that is written to."""
        return self._file

    def isatty(self) -> bool:
        """True if the descriptor is a terminal."""
        return os.isatty(self._file)

    def write(self, data: Any, /) -> int:
        """Queue or drop the data, and return its size in either case."""
        chunk = bytes(data)
        with self._changed:
            # One that is larger than the bound has its turn when nothing else waits.
            if self._waiting_bytes and self._waiting_bytes + len(chunk) > MAX_WAITING_BYTES:
                self._drop(chunk.count(b"\n"))
            else:
                self._queue.append(chunk)
                self._waiting_bytes += len(chunk)
            self._changed.notify_all()
        return len(chunk)

    def drain(self) -> bool:
        """Wait until everything is written, and return True; False if the reader has stopped or is too slow."""
        deadline = monotonic() + LONGEST_DRAIN_S
        with self._changed:
            while self._waiting_bytes or self._queue:
                # Woken by each chunk that is written.
                if not self._changed.wait(min(STUCK_S, deadline - monotonic())):
                    return False
        return True

    def _drop(self, lines: int) -> None:
        if self._queue and isinstance(self._queue[-1], int):
            self._queue[-1] += lines
        else:
            self._queue.append(lines)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue)
                data = self._take()
            for start in range(0, len(data), CHUNK_BYTES):
                self._write_chunk(data[start : start + CHUNK_BYTES])

    def _take(self) -> bytes:
        queue: list[bytes | int] = [self._failed_lines, *self._queue] if self._failed_lines else self._queue
        self._queue, self._failed_lines = [], 0
        data = b"".join(one if isinstance(one, bytes) else f"{self._report_loss(one)}\n".encode() for one in queue)
        self._waiting_bytes = len(data)
        return data

    def _write_chunk(self, chunk: bytes) -> None:
        written = 0
        while written < len(chunk):
            try:
                written += os.write(self._file, chunk[written:])
            # Another process with the same terminal or pipe may have made it non-blocking.
            except BlockingIOError:
                select.select((), (self._file,), ())
            except OSError:
                break
        with self._changed:
            self._failed_lines += chunk.count(b"\n", written)
            self._waiting_bytes -= len(chunk)
            self._changed.notify_all()


@contextmanager
def background_output(report_loss: Callable[[int], str]) -> Iterator[None]:
    """Replace `sys.stdout` and `sys.stderr` by streams whose writes never block, for the block.

    At its end everything is written, unless a reader has stopped: then its stream stays replaced, so that the rest of
    the process, such as a traceback, does not wait for it either.
    """
    replaced = [(name, stream) for name in ("stdout", "stderr") if _has_descriptor(stream := getattr(sys, name))]
    files = {name: BackgroundFile(stream.fileno(), report_loss) for name, stream in replaced}
    for name, stream in replaced:
        stream.flush()
        setattr(sys, name, _text(files[name], stream))
    try:
        yield
    finally:
        for name, stream in replaced:
            atexit.register(files[name].drain)
            if files[name].drain():
                setattr(sys, name, stream)


def drain(stream: TextIO) -> None:
    """Wait until a stream of `background_output` is written (`BackgroundFile.drain`); any other is left alone."""
    if isinstance(file := getattr(stream, "buffer", None), BackgroundFile):
        file.drain()


def _has_descriptor(stream: TextIO | None) -> bool:
    try:
        return stream is not None and stream.fileno() >= 0
    # It was replaced by something that is no file, or it is closed.
    except (OSError, ValueError):
        return False


def _text(file: BackgroundFile, like: TextIO) -> TextIO:
    return io.TextIOWrapper(file, like.encoding, like.errors, write_through=True)  # type: ignore[type-var]
