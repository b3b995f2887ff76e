"""What can be served: a TCP connection, one of which something was read already, and TLS over it."""

from typing import Any

import trio


class PrefixedStream(trio.abc.HalfCloseableStream):
    """A stream of which something was read already: `receive_some` gives back `prefix` first."""

    def __init__(self, prefix: bytes, stream: trio.SocketStream) -> None:
        self._prefix = prefix
        self._stream = stream
        self.socket = stream.socket

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """As the stream's, after the prefix."""
        if not self._prefix:
            return await self._stream.receive_some(max_bytes)
        await trio.lowlevel.checkpoint()
        size = max_bytes or len(self._prefix)
        data, self._prefix = self._prefix[:size], self._prefix[size:]
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """As the stream's."""
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """As the stream's."""
        await self._stream.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        """As the stream's."""
        await self._stream.send_eof()

    async def aclose(self) -> None:
        """As the stream's."""
        await self._stream.aclose()


Stream = trio.SocketStream | PrefixedStream | trio.SSLStream[Any]
