"""Transports of the app's connections: sockets, with and without TLS."""

import socket
from contextlib import suppress

import trio

from ..listening import peer_address
from ..tls import TlsSocket
from ..tls_stream import TlsStream


class PrefixedStream(trio.abc.HalfCloseableStream):
    """A socket stream whose first bytes, `prefix`, were already read: `receive_some` returns them first."""

    def __init__(self, prefix: bytes, stream: trio.SocketStream | TlsStream) -> None:
        self._prefix = prefix
        self._stream = stream
        self.socket = stream.socket

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if not self._prefix:
            return await self._stream.receive_some(max_bytes)
        await trio.lowlevel.checkpoint()
        size = max_bytes or len(self._prefix)
        data, self._prefix = self._prefix[:size], self._prefix[size:]
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stream.aclose()


Transport = trio.SocketStream | TlsStream | PrefixedStream
"""A connection that can be served: TCP, TLS before or after its handshake, or either handed over by the fast path."""


def stream_over(sock: socket.socket) -> trio.SocketStream | TlsStream:
    """The stream of a connection's socket."""
    if isinstance(sock, TlsSocket):
        return TlsStream(sock)
    return trio.SocketStream(trio.socket.from_stdlib_socket(sock))


def close_at_once(transport: Transport) -> None:
    """Close the socket, also while tasks are waiting for it; they are told."""
    trio.lowlevel.notify_closing(transport.socket)
    transport.socket.close()


def drop_when_unreachable(transport: Transport, after_s: float) -> None:
    """Have the kernel drop a connection whose client is unreachable for so long, which no write would notice."""
    # After 24 days at most: it takes an int. A Unix socket and other platforms lack the option.
    with suppress(OSError, AttributeError):
        milliseconds = min(int(after_s * 1000), 2**31 - 1)
        transport.socket.setsockopt(trio.socket.IPPROTO_TCP, trio.socket.TCP_USER_TIMEOUT, milliseconds)


def peer_of(transport: Transport) -> str:
    """Address of the client; empty for a Unix socket, or if the client is gone already."""
    try:
        return peer_address(transport.socket.getpeername())
    except OSError:
        return ""
