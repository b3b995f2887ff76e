"""Transport of HTTP requests: connections that are kept, and replaced at once when they have ended."""

import math
import ssl
from collections.abc import Awaitable, Callable, Iterable

import httpcore
import httpx
import trio
from httpcore._backends.trio import TrioStream

from ..errors import Lost
from .address import Address

# As in httpx. A server keeps an unused connection for a minute or so, but some keep it for only five seconds.
MAX_KEPT = 20
KEPT_S = 5.0

Open = Callable[[Address, float], Awaitable[trio.abc.Stream]]
"""Function that connects to a server, without TLS, within so many seconds. Raises `Lost`."""


class Transport(httpx.AsyncHTTPTransport):
    """Transport over connections that `open` makes, kept for further requests.

    A server may close a kept connection just when the next request is sent (RFC 9112, section 9.5). If not a byte of
    an answer has come, that request is sent over another connection at once (section 9.3.1). A new connection that
    ends like that is an error, since it tells that the server fails.
    """

    def __init__(self, open: Open, tls: ssl.SSLContext) -> None:
        super().__init__(verify=tls, trust_env=False)
        # httpx has no parameter for a network backend. Callers limit the number of their requests themselves.
        self._pool = httpcore.AsyncConnectionPool(
            tls,
            max_connections=None,
            max_keepalive_connections=MAX_KEPT,
            keepalive_expiry=KEPT_S,
            network_backend=_Network(open),
        )


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
    """A connection that knows whether it is kept, and whether the current request has been answered."""

    _kept = _answered = False

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        if self._answered:
            self._kept, self._answered = True, False
        await super().write(buffer, timeout)

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        try:
            data = await super().read(max_bytes, timeout)
        except httpcore.ReadError:
            self._end()
            raise
        if not data:
            self._end()
        self._answered = True
        return data

    def _end(self) -> None:
        """Make the pool send the request over another connection, if this one was kept and has answered nothing."""
        if self._kept and not self._answered:
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
