"""Output to standard output and standard error, whose readers may be slow or gone, or terminals."""

import os
import select
from collections.abc import Iterator
from contextlib import suppress
from weakref import finalize

import trio

from ..standard_files import OutputFailed, write_some

# The most that a pipe can hold for an ordinary user (Linux: fs.pipe-max-size).
PIPE_BYTES = 1 << 20
# A longer line is passed on in parts, so that a command cannot fill the memory with one.
MAX_LINE_BYTES = 1 << 16
# PIPE_BUF of Linux: a pipe that is writable takes this many bytes without blocking.
SMALL_BYTES = 4096


class Output:
    """A file descriptor that is written to without blocking the event loop.

    Outputs that may lead to the same place share a `lock`: when one of them fills it, the others have to wait, too.
    """

    def __init__(self, descriptor: int, lock: trio.Lock | None = None) -> None:
        # An abandoned thread may still write after the descriptor is closed and its number reused for another file.
        # It therefore writes to a duplicate, which lives as long as the output is referenced.
        self._descriptor = os.dup(descriptor)
        finalize(self, os.close, self._descriptor)
        self._lock = lock or trio.Lock()

    async def write(self, data: bytes) -> None:
        """Write all of the data, waiting for a slow reader; the writes of several tasks do not mix.

        Raises `OutputFailed`. After a cancellation, a thread may still be writing the rest of the data, mixed with
        later writes.
        """
        async with self._lock:
            if self._takes(len(data)):
                self._write_all(data)
            else:
                # O_NONBLOCK would also affect the other processes that share the file: only a thread can wait.
                await trio.to_thread.run_sync(self._write_all, data, abandon_on_cancel=True)

    def _takes(self, size: int) -> bool:
        """True if a pipe takes `size` bytes without blocking. A terminal whose user has stopped it may still block."""
        # Windows can select sockets only: there, each write goes to a thread.
        with suppress(OSError):
            return size <= SMALL_BYTES and bool(select.select([], [self._descriptor], [], 0)[1])
        return False

    def _write_all(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[write_some(self._descriptor, rest) :]


class PrefixedOutput:
    """Output of a process, copied line by line with a prefix; dropped if the reader of our output is gone.

    Its first `keeps` bytes are also in `kept`.
    """

    def __init__(self, pipe: trio.abc.ReceiveStream, output: Output, prefix: bytes, *, keeps: int = 0) -> None:
        self.kept = bytearray()
        self._keeps = keeps
        self._pipe = pipe
        self._output = output
        self._prefix = prefix
        self._rest = b""
        self._waiting = trio.CancelScope()
        self._ended = False

    def finish(self) -> None:
        """Make `run` copy what is in the pipe now and return, even if background processes hold the pipe open."""
        self._ended = True
        self._waiting.cancel()

    async def run(self) -> None:
        """Copy the output until the end of the pipe, or until `finish`."""
        while chunk := await self._receive():
            await self._copy(chunk)
        for chunk in self._remaining():
            await self._copy(chunk)
        if self._rest:
            await self._write(self._rest)

    async def _receive(self) -> bytes:
        if not self._ended:
            with trio.CancelScope() as self._waiting:
                return bytes(await self._pipe.receive_some())
        return b""

    def _remaining(self) -> Iterator[bytes]:
        """Bytes that the pipe holds now."""
        # The pipes of Windows have no descriptor: what they still hold is lost.
        if not hasattr(self._pipe, "fileno"):
            return
        # Bounded by what a pipe can hold: a process in the background may fill it faster than this empties it.
        left = PIPE_BYTES
        with suppress(BlockingIOError):
            while left > 0 and (chunk := os.read(self._pipe.fileno(), left)):
                yield chunk
                left -= len(chunk)

    async def _copy(self, chunk: bytes) -> None:
        self.kept += chunk[: self._keeps - len(self.kept)]
        lines, newline, self._rest = (self._rest + chunk).rpartition(b"\n")
        if len(self._rest) > MAX_LINE_BYTES:
            lines, self._rest = lines + newline + self._rest, b""
        if newline or lines:
            await self._write(lines)

    async def _write(self, lines: bytes) -> None:
        with suppress(OutputFailed):
            await self._output.write(self._prefix + lines.replace(b"\n", b"\n" + self._prefix) + b"\n")
