"""Transport of HTTP requests: connections that are kept, and replaced at once when they have ended."""

import math
import re
import ssl
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Any

import httpcore
import httpx
import trio
from httpcore._backends.trio import TrioStream

from ..errors import Lost, sole_error
from .address import Address

# As in httpx. A server keeps an unused connection for a minute or so, but some keep it for only five seconds.
MAX_KEPT = 20
KEPT_S = 5.0

# Behind any informational responses (RFC 9112, sections 4 and 9.2; RFC 9110, section 15.2).
_STATUS = re.compile(rb"\s*(?>HTTP/1\.\d 1\d\d\b.*?\n\r?\n)*HTTP/1\.\d ([2-9]\d\d)\s", re.DOTALL)
# More than informational responses take.
_BEGINNING_BYTES = 1 << 14
# A connection takes as much without waiting (Linux: tcp_wmem), before an answer can come.
_AT_ONCE_BYTES = 1 << 14

Open = Callable[[Address, float], Awaitable[trio.abc.Stream]]
"""Function that connects to a server, without TLS, within so many seconds. Raises `Lost`."""


class Transport(httpx.AsyncHTTPTransport):
    """Transport over connections that `open` makes, kept for further requests.

    A server may close a kept connection just when the next request is sent (RFC 9112, section 9.5). If not a byte of
    an answer has come, that request is sent over another connection at once (section 9.3.1). So it is if the answer is
    408, with which a server ends an idle connection (RFC 9110, section 15.5.9). A new connection that ends like that is
    an error, since it tells that the server fails.

    An answer that breaks off behind its status, or is invalid there, is one without header fields and body, and with
    the extension ``is_broken``. So is one that is not whole at the extension ``deadline`` of the request, a time of
    Trio.
    """

    def __init__(self, open: Open, tls: ssl.SSLContext) -> None:
        super().__init__(verify=tls, trust_env=False)
        # httpx has no parameter for a network backend. Callers limit the number of their requests themselves.
        self._pool = _Pool(
            tls,
            max_connections=None,
            max_keepalive_connections=MAX_KEPT,
            keepalive_expiry=KEPT_S,
            network_backend=_Network(open),
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await super().handle_async_request(request)
        # The client would keep cookies as long as it lives, however many come.
        response.headers.pop("Set-Cookie", None)
        # It parses where a redirection leads, though it never follows one, and then does not tell the status.
        if not _is_url(response.headers.get("Location", "")):
            del response.headers["Location"]
        return response


def _is_url(text: str) -> bool:
    try:
        httpx.URL(text)
    except (httpx.InvalidURL, ValueError):
        return False
    return True


class _Pool(httpcore.AsyncConnectionPool):
    def create_connection(self, origin: httpcore.Origin) -> httpcore.AsyncConnectionInterface:
        return _Connection(origin, self._ssl_context, self._keepalive_expiry, network_backend=self._network_backend)


class _Connection(httpcore.AsyncHTTPConnection):
    def has_expired(self) -> bool:
        """True also if more has been read than an answer, or its end: it would be taken for that of the next one."""
        return super().has_expired() or (self.is_idle() and any(self._current()._h11_state.trailing_data))

    async def handle_async_request(self, request: httpcore.Request) -> httpcore.Response:
        response = await self._response_to(request)
        if response.status == 408 and self._current()._network_stream.kept:
            await self.aclose()
            raise httpcore.ConnectionNotAvailable
        return response

    async def _response_to(self, request: httpcore.Request) -> httpcore.Response:
        # Not while it has another request, for which the pool sends this one to another connection.
        if self._connection and self.is_idle():
            self._current()._network_stream.begin_another()
        failure: Exception = httpcore.ReadTimeout("no response in time")
        with trio.CancelScope(deadline=request.extensions.get("deadline", math.inf)):
            try:
                return await super().handle_async_request(request)
            except (httpcore.ReadError, httpcore.RemoteProtocolError) as error:
                failure = error
        beginning = self._current()._network_stream.beginning if self._connection else b""
        if status := _STATUS.match(beginning):
            return httpcore.Response(int(status[1]), extensions={"is_broken": True})
        # A time-out is told as one, and a read error without an answer has the reason of the operating system.
        if isinstance(failure, httpcore.RemoteProtocolError) or (beginning and isinstance(failure, httpcore.ReadError)):
            # Without a reason, the connection was cut.
            failure = httpcore.RemoteProtocolError("the response is not whole, or not valid HTTP" if beginning else "")
        raise failure

    def _current(self) -> Any:
        """The connection itself, once it is made; its parser and its stream are not public."""
        return self._connection


class _Network(httpcore.AsyncNetworkBackend):
    def __init__(self, open: Open) -> None:
        self._open = open

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        try:
            return _Stream(await self._open(Address(False, host, port), math.inf if timeout is None else timeout))
        except Lost as error:
            raise httpcore.ConnectError(str(error)) from error


class _Stream(TrioStream):
    """A byte stream that knows whether it is kept, and the beginning of what has come since the current request."""

    kept = False
    beginning = b""
    # Of the beginning, what has come before the whole request was sent.
    _early = b""

    def begin_another(self) -> None:
        """Begin another request than the first one."""
        self.kept, self.beginning = True, b""

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """Send, and receive what comes before all is sent (RFC 9112, section 9.5): TLS loses it when sending fails."""
        if len(buffer) <= _AT_ONCE_BYTES:
            await super().write(buffer, timeout)
            return
        sent = False
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(self._receive_early, nursery.cancel_scope)
                with suppress(httpcore.WriteError):
                    await super().write(buffer, timeout)
                    sent = True
                    nursery.cancel_scope.cancel()
        except ExceptionGroup as group:
            raise sole_error(group) from None
        if not sent:
            raise httpcore.WriteError("not all of the request was sent")

    async def _receive_early(self, sending: trio.CancelScope, task_status: trio.TaskStatus[None]) -> None:
        # Without a checkpoint from here: once sending has failed, TLS begins to receive no more.
        task_status.started()
        with suppress(httpcore.ReadError):
            while len(self._early) < _BEGINNING_BYTES and (data := await super().read(_BEGINNING_BYTES)):
                self._early += data
                self._note(data)
                if status := _STATUS.match(self.beginning):
                    # A server that succeeds may still read the rest.
                    if status[1].startswith(b"2"):
                        return
                    break
        sending.cancel()

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        if self._early:
            data, self._early = self._early, b""
            return data
        try:
            data = await super().read(max_bytes, timeout)
        except httpcore.ReadError:
            self._end()
            raise
        if not data:
            self._end()
        self._note(data)
        return data

    def _note(self, data: bytes) -> None:
        self.beginning += data[: _BEGINNING_BYTES - len(self.beginning)]

    def _end(self) -> None:
        """Make the pool send the request over another connection, if this one was kept and has answered nothing."""
        if self.kept and not self.beginning:
            raise httpcore.ConnectionNotAvailable

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> httpcore.AsyncNetworkStream:
        secured = await super().start_tls(ssl_context, server_hostname, timeout)
        assert isinstance(secured, TrioStream)
        return _Stream(secured._stream)
