"""Connections of the app, from TLS handshake to last byte; in place of Hypercorn's `TCPServer` and `TaskGroup`."""

import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from math import inf
from typing import Any

import trio
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState
from hypercorn.utils import parse_socket_addr

from ...access.senders import Standing
from ...errors import describe
from ..limits import HALF_CLOSE_S
from ..progress import UploadProgress
from ..tls import HTTP_2, TlsSocket
from ..tls_stream import TlsStream
from ..turns import Turns
from ..unauthenticated import UnauthenticatedConnections
from .config import RECEIVE_BYTES, ServingConfig
from .extensions import ABORT, AUTHENTICATED, CONTINUE, MESSAGE
from .http1 import HTTP1
from .http2 import HTTP2
from .inbox import Inbox
from .logged import call_logged
from .scope import request_of
from .transport import Transport, close_at_once, drop_when_unreachable, peer_of

# Memory of a connection with TLS, and what each request under way adds; both were measured.
CONNECTION_BYTES = 40 << 10
REQUEST_BYTES = 20 << 10
# A body that the client does not take is there once more, in part, as what is to be sent.
BODY_COPIES = 2

# A client has `stall_s` for each piece, so that a slow one that goes on reading is not cut off.
_SEND = 64 << 10

# Websocket messages that wait for the app: as text, one of 64 KiB takes up to 256 KiB, and each client may send more.
UNREAD_MESSAGES = 1

logger = logging.getLogger(__package__)


class AsgiConnection:
    """One accepted connection; `run` serves it, and cuts it at the latest `grace_s` after the shutdown began.

    Tasks: `run` reads, and cancels the others when there is no more to read; `_watch` closes the socket in any
    case; the app has one for each request. The app of a websocket is first given what was received: it may be an
    acknowledgement. A write is shielded from cancellation, because half a frame must not be left behind; a client that
    stops reading is cut off by closing the socket.
    """

    def __init__(
        self,
        app: Any,
        config: ServingConfig,
        context: WorkerContext,
        unauthenticated: UnauthenticatedConnections,
        draining: Turns,
        stream: Transport,
    ) -> None:
        self._app = app
        self._config = config
        self._context = context
        self._unauthenticated = unauthenticated
        self._draining = draining
        self._stream = stream
        self._protocol: HTTP1 | HTTP2 | None = None
        self._nursery: trio.Nursery
        self._reading = trio.CancelScope()
        self._patience = trio.CancelScope()
        self._send_lock = trio.Lock()
        self._write_closed = False
        """True once nothing more may be written: the client accepts no more bytes, or the last one was sent."""
        self._held = CONNECTION_BYTES
        """Bytes of memory that it takes, with its requests and the bodies that it is sending."""
        self._websocket_over: trio.Event | None = None
        """Set when the app has left its websocket; None without one."""
        self._progress = UploadProgress(config.limits.min_body_bytes)

    @property
    def progressed_at(self) -> float:
        """Time at which it was accepted, its last request made progress, or the last response was sent."""
        return self._progress.made_at

    @property
    def busy(self) -> bool:
        """True while the hub works for it, and expects nothing of the client."""
        protocol = self._protocol
        if protocol is None or self._send_lock.locked():
            return False
        return protocol.deadline() == inf and not protocol.blocked

    def end(self, reason: str) -> None:
        """Close the socket now; the reason is for the log."""
        logger.debug("a connection ended: %s", reason, extra={"client": peer_of(self._stream)})
        close_at_once(self._stream)
        self._nursery.cancel_scope.cancel()

    async def run(self) -> None:
        """Serve the connection until it is over. A bug in the protocols is logged and ends this connection only."""
        try:
            async with trio.open_nursery() as self._nursery:
                self._unauthenticated.add(self, peer_of(self._stream), self._held)
                self._nursery.start_soon(self._watch)
                protocol = await self._open()
                if protocol:
                    with self._reading:
                        await self._read(protocol)
                    await self._linger(protocol.drained_bytes)
                    await self._leave_websocket(protocol)
                self._nursery.cancel_scope.cancel()
        # An untrusted client may find a bug in a library: an upgrade with a subprotocol that is not ASCII is one. In
        # Hypercorn that ends the whole server.
        except* Exception as failures:
            logger.warning("a connection failed: %s", describe(failures), exc_info=logger.isEnabledFor(logging.DEBUG))
        finally:
            self._unauthenticated.remove(self)

    async def spawn_app(
        self, app: Any, config: Config, scope: Any, send: Callable[[Any], Awaitable[None]]
    ) -> Callable[[Any], Awaitable[None]]:
        """Start the app for a request, and return the function that takes events for it (`TaskGroup.spawn_app`).

        The end of the connection cancels the app.
        """
        is_websocket = scope["type"] == "websocket"
        inbox = Inbox(UNREAD_MESSAGES if is_websocket else config.max_app_queue_size)

        # Functions, which `deepcopy` does not copy, unlike methods: middleware may copy the scope.
        def abort() -> None:
            self._nursery.cancel_scope.cancel()

        def authenticated() -> None:
            self._unauthenticated.remove(self)

        scope["extensions"].update({CONTINUE: {}, MESSAGE: {}, ABORT: abort, AUTHENTICATED: authenticated})
        self._count_requests(1)
        if is_websocket:
            self._websocket_over = trio.Event()
        # Before the app begins and not after: Hypercorn fails if it answers before this function has returned.
        await self._unauthenticated.wait_to_begin(self, request_of(scope))
        self._nursery.start_soon(self._run_app, scope, inbox, send)
        return inbox.put

    def spawn(self, task: Callable[..., Awaitable[None]], *args: Any) -> None:
        """Start a task for the protocol (Hypercorn's `TaskGroup.spawn`)."""
        self._nursery.start_soon(task, *args)

    async def _run_app(self, scope: Any, inbox: Inbox, send: Any) -> None:
        async def send_fairly(message: Any) -> None:
            # Hypercorn's send returns without a checkpoint once the client is gone: a loop of sends would never end.
            await trio.lowlevel.checkpoint()
            if message["type"] == CONTINUE and self._protocol:
                await self._protocol.invite_body()
                return
            size = len(message.get("body", b"")) * BODY_COPIES
            self._hold(size)
            try:
                await send(message)
            finally:
                self._hold(-size)

        with inbox:
            try:
                await call_logged(self._app, scope, inbox.receive, send_fairly)
            except* Exception:
                logger.exception("a request failed with a bug in the hub")
            finally:
                if self._websocket_over is not None:
                    self._websocket_over.set()
                await send(None)
                self._count_requests(-1)

    def _count_requests(self, change: int) -> None:
        self._progress.make()
        self._hold(change * REQUEST_BYTES)

    def _hold(self, change: int) -> None:
        self._held += change
        self._unauthenticated.resize(self, self._held)

    async def _watch(self) -> None:
        """Begin the shutdown of the connection when the server's begins; close the socket at the end in any case."""
        try:
            await self._context.terminated.wait()
            grace_s = self._unauthenticated.grace_s(self, self._config.limits.grace_s)
            self._nursery.cancel_scope.deadline = trio.current_time() + grace_s
            if isinstance(self._protocol, HTTP1) and self._protocol.stream is None:
                await trio.sleep_until(self.progressed_at + self._config.limits.settle_s)
            if self._protocol:
                self._nursery.start_soon(self._protocol.shut_down)
            else:
                self._nursery.cancel_scope.cancel()
            await trio.sleep_forever()
        finally:
            close_at_once(self._stream)

    async def _open(self) -> HTTP1 | HTTP2 | None:
        """Do the TLS handshake and choose the protocol; None if the client is gone, too slow, or does not speak TLS."""
        stream, socket, certificate, alpn = self._stream, self._stream.socket, None, None
        try:
            # One that was handed over has done it.
            if isinstance(stream, TlsStream):
                with trio.fail_after(self._config.limits.slow_s):
                    await stream.do_handshake()
            if isinstance(socket, TlsSocket):
                certificate, alpn = socket.certificate(), socket.protocol()
            drop_when_unreachable(stream, self._config.limits.stall_s)
            client = parse_socket_addr(socket.family, socket.getpeername())
            server = parse_socket_addr(socket.family, socket.getsockname())
        except (OSError, trio.TooSlowError, trio.BrokenResourceError, trio.ClosedResourceError):
            return None
        protocol_class = HTTP2 if alpn == HTTP_2 else HTTP1
        state = ConnectionState({"certificate": certificate})
        ssl = isinstance(socket, TlsSocket)
        self._protocol = protocol_class(
            self._app, self._config, self._context, self, state, ssl, client, server, self._send
        )
        await self._protocol.initiate()
        return self._protocol

    async def _read(self, protocol: HTTP1 | HTTP2) -> None:
        """Pass received bytes to the protocol until the client closes its side or exceeds the protocol's deadline."""
        while True:
            with trio.CancelScope(deadline=protocol.deadline()) as self._patience:
                try:
                    data = bytes(await self._stream.receive_some(protocol.receive_bytes))
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    return
            if self._patience.cancelled_caught:
                await protocol.time_out()
                return
            self._progress.count(len(data))
            await self._unauthenticated.wait_to_handle(self)
            await protocol.handle(RawData(data))
            if not data:
                await trio.sleep(HALF_CLOSE_S if protocol.responding else 0)
                return

    async def _send(self, event: Event) -> None:
        """Handle an event of the protocol (Hypercorn's `TCPServer.protocol_send`). Closing never waits for the app."""
        if isinstance(event, RawData):
            await self._write(event.data)
        elif isinstance(event, Closed):
            self._reading.cancel()
        else:
            assert isinstance(event, Updated)
            assert self._protocol
            self._patience.deadline = self._protocol.deadline()

    async def _write(self, data: bytes) -> None:
        """Write all of the data; end the connection if the client does not take each `_SEND` bytes within `stall_s`."""
        # Hypercorn's own shield has no deadline: a client that stops reading would hold up the shutdown forever.
        with trio.CancelScope(shield=True) as patience:
            async with self._send_lock:
                if self._write_closed:
                    return
                for start in range(0, len(data), _SEND):
                    patience.deadline = trio.current_time() + self._config.limits.stall_s
                    try:
                        await self._stream.send_all(memoryview(data)[start : start + _SEND])
                    except (trio.BrokenResourceError, trio.ClosedResourceError):
                        self._write_closed = True
                        break
        if self._websocket_over is not None and self._write_closed:
            # What the client has sent before it left is still to be read.
            self._reading.deadline = trio.current_time() + self._config.limits.linger_s
        elif self._write_closed or patience.cancelled_caught:
            self._write_closed = True
            self._nursery.cancel_scope.cancel()

    async def _linger(self, drained_bytes: int) -> None:
        """Half-close, and discard what arrives for `linger_s`, so that the client can read the last response.

        See RFC 9112, section 9.6. What a client sends beyond `drained_bytes` waits with it, and costs nothing.
        """
        linger_s = self._config.limits.linger_s
        drained_at = -inf
        with trio.move_on_after(linger_s), suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async with self._send_lock:
                self._write_closed = True
                await self._stream.send_eof()
            while data := await self._stream.receive_some(RECEIVE_BYTES):
                drained_bytes -= len(data)
                if drained_bytes < 0:
                    await trio.sleep_forever()
                await self._draining.wait(Standing.UNKNOWN, drained_at)
                drained_at = trio.current_time()

    async def _leave_websocket(self, protocol: HTTP1 | HTTP2) -> None:
        """Wait until the app has left its websocket, for at most `linger_s`."""
        if self._websocket_over is not None:
            with trio.move_on_after(self._config.limits.linger_s):
                await protocol.handle(Closed())
                await self._websocket_over.wait()
