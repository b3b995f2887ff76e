"""Streams of Trio over TLS, for the app: of connections that the fast path hands over, and of its own listener."""

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import trio

from .tls import RECORD_BYTES, Tls, TlsSocket


class TlsStream(trio.abc.HalfCloseableStream):
    """A stream over a `TlsSocket`. Unlike `trio.SSLStream`, it can take over a connection in the middle.

    A client may end without a close_notify, as many do: HTTP has its own end of message.
    """

    def __init__(self, sock: TlsSocket) -> None:
        self.socket = sock

    async def do_handshake(self) -> None:
        """Do the handshake; returns at once if it is done. Raises `trio.BrokenResourceError` if it fails."""
        while True:
            await trio.lowlevel.checkpoint()
            with _broken_if_it_fails():
                try:
                    self.socket.do_handshake()
                    return
                except ssl.SSLWantReadError:
                    wait = trio.lowlevel.wait_readable
                except ssl.SSLWantWriteError:
                    wait = trio.lowlevel.wait_writable
            await wait(self.socket)

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        while True:
            await trio.lowlevel.checkpoint()
            with _broken_if_it_fails():
                try:
                    return self.socket.recv(max_bytes or RECORD_BYTES)
                except BlockingIOError:
                    """Wait for more."""
            await trio.lowlevel.wait_readable(self.socket)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        sent = 0
        with memoryview(data) as view:
            while True:
                await trio.lowlevel.checkpoint()
                with _broken_if_it_fails():
                    try:
                        sent += self.socket.send(view[sent:])
                    except BlockingIOError:
                        """Wait for room."""
                if sent == len(view):
                    return
                await self.wait_send_all_might_not_block()

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.wait_writable(self.socket)

    async def send_eof(self) -> None:
        """Half-close after a close_notify. What the client sends afterwards is received as it comes, encrypted."""
        await trio.lowlevel.checkpoint()
        with _broken_if_it_fails():
            self.socket.shutdown(socket.SHUT_WR)

    async def aclose(self) -> None:
        trio.lowlevel.notify_closing(self.socket)
        self.socket.close()
        await trio.lowlevel.checkpoint()


class TlsListener(trio.abc.Listener[TlsStream]):
    """A listener for TLS connections. Accepting does not handshake: a slow client must not hold up the next one."""

    def __init__(self, listener: trio.SocketListener, tls: Tls) -> None:
        self._listener = listener
        self._tls = tls

    async def accept(self) -> TlsStream:
        """The next connection, before its handshake."""
        while True:
            stream = await self._listener.accept()
            sock = socket.socket(fileno=stream.socket.detach())
            sock.setblocking(False)
            try:
                return TlsStream(self._tls.wrap(sock))
            # The client has gone already.
            except OSError:
                sock.close()

    async def aclose(self) -> None:
        """Close the listening socket."""
        await self._listener.aclose()


@contextmanager
def _broken_if_it_fails() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise trio.BrokenResourceError(f"the connection is broken: {error}") from error
