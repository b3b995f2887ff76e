"""Standard output and standard error, written by a thread each: a reader that has stopped holds up nobody."""

import atexit
import io
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any, TextIO

from ..standard_files import OutputFailed, write_some

# Some seven thousand lines: far more than a reader that is merely slow leaves unread.
MAX_WAITING_BYTES = 1 << 20
# As much as a pipe takes at once (POSIX, PIPE_BUF on Linux): what a slow reader takes is seen as progress.
CHUNK_BYTES = 4096
# A reader that takes nothing for this long as the process ends has stopped.
STUCK_S = 0.25
LONGEST_DRAIN_S = 1.0

ERRORS = ("stderr", "__stderr__")
STREAMS = ("stdout", "__stdout__", *ERRORS)


class BackgroundFile(io.RawIOBase):
    """A file descriptor that a daemon thread writes to. `write` never blocks.

    At most `MAX_WAITING_BYTES` wait; lines beyond that are dropped. As soon as there is room again, the line that
    `report_loss` returns for the number of lines dropped is written in their place.
    """

    def __init__(self, file: int, report_loss: Callable[[int], str]) -> None:
        self._file = file
        self._report_loss = report_loss
        # Reentrant, since a signal handler may write while its thread does.
        self._changed = threading.Condition(threading.RLock())
        self._queue: list[bytearray | int] = []
        """Text that waits to be written, and in between the numbers of lines that were dropped there."""
        self._writing = False
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

    def close(self) -> None:
        """End the thread, once everything is written."""
        with self._changed:
            super().close()
            self._changed.notify_all()

    def write(self, data: Any, /) -> int:
        """Queue the lines for which there is room, drop the others, and return the size of the data in either case."""
        given = bytes(data)
        with self._changed:
            room = MAX_WAITING_BYTES - self._waiting_bytes
            kept = given if len(given) <= room else given[: given.rfind(b"\n", 0, room) + 1]
            self._add(kept)
            if len(kept) < len(given):
                # What has no end yet is a line, too.
                self._drop(given.count(b"\n", len(kept)) or 1)
            self._changed.notify_all()
        return len(given)

    def drain(self) -> bool:
        """Wait until everything is written, and return True; False if the reader has stopped or is too slow."""
        deadline = monotonic() + LONGEST_DRAIN_S
        with self._changed:
            while self._queue or self._writing:
                # Woken by each chunk that is written.
                if not self._changed.wait(min(STUCK_S, deadline - monotonic())):
                    return False
        return True

    def _add(self, text: bytes) -> None:
        if self._queue and isinstance(self._queue[-1], bytearray):
            self._queue[-1] += text
        elif text:
            self._queue.append(bytearray(text))
        self._waiting_bytes += len(text)

    def _drop(self, lines: int) -> None:
        if self._queue and isinstance(self._queue[-1], int):
            self._queue[-1] += lines
        else:
            self._queue.append(lines)

    def _run(self) -> None:
        while queue := self._take():
            for one in queue:
                if isinstance(one, int):
                    self._write_report(one)
                else:
                    self._write_text(one)

    def _take(self) -> list[bytearray | int]:
        """Text to be written, and numbers as in the queue; none once the file is closed."""
        with self._changed:
            self._writing = False
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._queue or self.closed)
            queue = [self._failed_lines, *self._queue] if self._failed_lines else self._queue
            self._queue, self._failed_lines, self._writing = [], 0, bool(queue)
        return queue

    def _write_report(self, lines: int) -> None:
        report = f"{self._report_loss(lines)}\n".encode()
        if self._write(report) < len(report):
            self._failed_lines += lines

    def _write_text(self, text: bytearray) -> None:
        for start in range(0, len(text), CHUNK_BYTES):
            chunk = bytes(text[start : start + CHUNK_BYTES])
            self._failed_lines += chunk.count(b"\n", self._write(chunk))
            with self._changed:
                self._waiting_bytes -= len(chunk)
                self._changed.notify_all()

    def _write(self, data: bytes) -> int:
        """Write all of the data, however long it takes, and return its size; less if the descriptor fails."""
        written = 0
        while written < len(data):
            try:
                written += write_some(self._file, data[written:])
            except OutputFailed:
                break
        return written


def loss(lines: int) -> str:
    """Sentence about lines that were dropped."""
    return f"{lines} lines were dropped here, because nobody read them"


@contextmanager
def background_output(report_loss: Callable[[int], str], names: Iterable[str] = STREAMS) -> Iterator[None]:
    """Replace these streams of `sys` by streams whose writes never block, for the block.

    At its end everything is written, unless a reader has stopped: then its stream stays replaced, so that the rest of
    the process, such as a traceback, does not wait for it either.
    """
    replaced = {name: stream for name in names if _has_descriptor(stream := getattr(sys, name))}
    files = {number: BackgroundFile(number, report_loss) for number in {one.fileno() for one in replaced.values()}}
    ours = {name: _text(files[stream.fileno()], stream) for name, stream in replaced.items()}
    for name, stream in ours.items():
        replaced[name].flush()
        setattr(sys, name, stream)
    try:
        yield
    finally:
        for file in files.values():
            atexit.register(file.drain)
        for name, stream in replaced.items():
            if drain(ours[name]):
                setattr(sys, name, stream)


def drain(stream: TextIO) -> bool:
    """Wait until a stream of `background_output` is written (`BackgroundFile.drain`); any other is left alone."""
    file = getattr(stream, "buffer", None)
    if not isinstance(file, BackgroundFile):
        return True
    stream.flush()
    return file.drain()


def _has_descriptor(stream: TextIO | None) -> bool:
    try:
        return stream is not None and stream.fileno() >= 0
    # It was replaced by something that is no file, or it is closed.
    except (OSError, ValueError):
        return False


def _text(file: BackgroundFile, like: TextIO) -> TextIO:
    # Line by line, so that a line is written or dropped as a whole.
    return io.TextIOWrapper(file, like.encoding, like.errors, line_buffering=True)  # type: ignore[type-var]
