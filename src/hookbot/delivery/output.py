"""Standard output and standard error, whose readers may be slow, or leave, or be terminals that obey what they get."""

import os
import select
from collections.abc import Iterator
from contextlib import suppress
from weakref import finalize

import trio

PIPE_BYTES = 1 << 20  # the most that a pipe holds for an ordinary user (Linux: fs.pipe-max-size)
MAX_LINE_BYTES = 1 << 16
SMALL_BYTES = 4096  # PIPE_BUF of Linux: what a pipe takes whole once it is writable
_SHOWN = "\n\t\u200c\u200d"  # the joiners are parts of emoji and of words


class Output:
    """A file descriptor that is written to without holding up anything else.

    A slow reader is waited for. Raises `BrokenPipeError` when the reader is gone. Cancelling may cut what is being
    written in two.
    """

    def __init__(self, descriptor: int, lock: trio.Lock | None = None) -> None:
        """Outputs that may lead to the same place share a `lock`: what one of them fills, the other has to wait for."""
        # A thread that is abandoned may go on when the descriptor is closed and its number belongs to another file:
        # it writes to a duplicate, which lives as long as anybody holds the output.
        self._descriptor = os.dup(descriptor)
        finalize(self, os.close, self._descriptor)
        self._lock = lock or trio.Lock()

    async def write(self, data: bytes) -> None:
        """Write all of it; what several tasks write does not mix."""
        async with self._lock:
            if self._takes(len(data)):
                self._write_all(data)
            else:
                await trio.to_thread.run_sync(self._write_all, data, abandon_on_cancel=True)

    def _takes(self, size: int) -> bool:
        """Whether so many bytes can be written without waiting: a pipe or a terminal that is ready takes that many."""
        return size <= SMALL_BYTES and bool(select.select([], [self._descriptor], [], 0)[1])

    def _write_all(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]


class PrefixedOutput:
    """The output of a process, passed on line by line with a prefix. What nobody reads any more is dropped."""

    def __init__(self, pipe: trio.lowlevel.FdStream, output: Output, prefix: bytes) -> None:
        self._pipe = pipe
        self._output = output
        self._prefix = prefix
        self._rest = b""
        self._waiting = trio.CancelScope()
        self._ended = False

    def finish(self) -> None:
        """The process has ended: pass on what it has written, and do not wait for what it left running."""
        self._ended = True
        self._waiting.cancel()

    async def run(self) -> None:
        """Pass it on until the end of the pipe, or `finish`."""
        while chunk := await self._receive():
            await self._pass_on(chunk)
        for chunk in self._left():
            await self._pass_on(chunk)
        if self._rest:
            await self._write(self._rest)

    async def _receive(self) -> bytes:
        if not self._ended:
            with trio.CancelScope() as self._waiting:
                return bytes(await self._pipe.receive_some())
        return b""

    def _left(self) -> Iterator[bytes]:
        """Bytes that the pipe holds now; a process in the background may go on filling it."""
        left = PIPE_BYTES
        with suppress(BlockingIOError):
            while left > 0 and (chunk := os.read(self._pipe.fileno(), left)):
                yield chunk
                left -= len(chunk)

    async def _pass_on(self, chunk: bytes) -> None:
        lines, newline, self._rest = (self._rest + chunk).rpartition(b"\n")
        if len(self._rest) > MAX_LINE_BYTES:
            lines, self._rest = lines + newline + self._rest, b""
        if newline or lines:
            await self._write(lines)

    async def _write(self, lines: bytes) -> None:
        with suppress(OSError):
            await self._output.write(self._prefix + lines.replace(b"\n", b"\n" + self._prefix) + b"\n")


def escaped(text: str) -> str:
    """The text with everything escaped that would do something to a terminal."""
    return "".join(c if c.isprintable() or c in _SHOWN else c.encode("unicode_escape").decode() for c in text)
