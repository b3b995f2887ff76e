"""Standard output and standard error, whose readers may be slow, or leave."""

import os

import trio


class Output:
    """Writes bytes to a file descriptor without holding up anything else.

    A slow reader is waited for. Raises `BrokenPipeError` when the reader is gone. Cancelling may cut what is being
    written in two.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = trio.Lock()

    async def write(self, data: bytes) -> None:
        """Write all of it; what several tasks write does not mix."""
        async with self._lock:
            await trio.to_thread.run_sync(self._write_all, data, abandon_on_cancel=True)

    def _write_all(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]
