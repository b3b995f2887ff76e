"""`publish`: hand a message to a hub, once, also when the answer gets lost on the way."""

import ssl
import uuid
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import trio

from ..backoff import Backoff
from ..errors import HookbotError, Lost
from ..protocol.response import error_of
from ..version import __version__
from .address import Address, check_publishable
from .connect import proxy_of, reason_of, tls_context
from .errors import PASSING, retry_after
from .headers import encoded, end_to_end

PATIENCE_S = 30.0
TIMEOUT_S = 30.0

_SET_HERE = frozenset({"authorization", "hookbot-hops", "idempotency-key"})
"""What says something about this publish, and not about the message."""


class Publisher:
    """Publishes to one topic over connections that stay open; made by `open_publisher`."""

    def __init__(self, address: Address, client: httpx.AsyncClient, patience_s: float) -> None:
        self._address = address
        self._client = client
        self._patience_s = patience_s

    async def publish(
        self,
        body: bytes | str,
        *,
        headers: Iterable[tuple[str, str]] = (),
        idempotency_key: str | None = None,
        hops: Sequence[str] = (),
    ) -> str:
        """The same as the function `publish`."""
        data = body.encode() if isinstance(body, str) else body
        fields = [("Host", self._address.netloc), ("Content-Length", str(len(data))), *_passed_on(headers)]
        fields.append(("Idempotency-Key", idempotency_key or uuid.uuid4().hex))
        fields += self._address.authorization_header()
        if hops:
            fields.append(("Hookbot-Hops", ",".join(hops)))
        return await self._until_it_works(encoded(fields), data)

    async def _until_it_works(self, headers: list[tuple[bytes, bytes]], body: bytes) -> str:
        backoff = Backoff()
        give_up_at = trio.current_time() + self._patience_s
        while True:
            try:
                return await self._post(headers, body)
            except PASSING as problem:
                delay_s = backoff.next_s(at_least_s=retry_after(problem))
                if trio.current_time() + delay_s > give_up_at:
                    raise
            await trio.sleep(delay_s)

    async def _post(self, headers: list[tuple[bytes, bytes]], body: bytes) -> str:
        url = str(self._address) + self._address.target(self._address.query).removeprefix(self._address.path)
        try:
            answer = await self._client.send(httpx.Request("POST", url, headers=headers, stream=RequestBody(body)))
        except httpx.TimeoutException:
            raise Lost(f"cannot publish to {self._address}: no answer within {TIMEOUT_S:.0f} s") from None
        except httpx.TransportError as error:
            raise Lost(f"cannot publish to {self._address}: {reason_of(error)}") from None
        if answer.status_code != 200:
            raise _refusal(answer)
        return str(answer.headers.get("Hookbot-Message-Id", ""))


@asynccontextmanager
async def open_publisher(
    url: str, *, token: str | None = None, ca_file: str | Path | None = None, patience_s: float = PATIENCE_S
) -> AsyncIterator[Publisher]:
    """For whoever publishes often to one topic. Raises `Refused` for a URL that is not for publishing."""
    address = Address.parse(url, token)
    check_publishable(address)
    async with open_client(address, ca_file) as client:
        yield Publisher(address, client, patience_s)


def open_client(address: Address, ca_file: str | Path | None = None) -> httpx.AsyncClient:
    """Connections to the hub at `address` that stay open, for publishers to any of its topics: a context manager."""
    tls = tls_context(ca_file)
    proxy = proxy_for_httpx(proxy_of(address), tls)
    return httpx.AsyncClient(verify=tls, proxy=proxy, timeout=TIMEOUT_S, trust_env=False)


async def publish(
    url: str,
    body: bytes | str,
    *,
    headers: Iterable[tuple[str, str]] = (),
    token: str | None = None,
    idempotency_key: str | None = None,
    hops: Sequence[str] = (),
    ca_file: str | Path | None = None,
    patience_s: float = PATIENCE_S,
) -> str:
    """Publish `body` and return the id of the message; "" from a hub older than 1.0, which has none.

    When it returns, the message is stored. Raises `Refused` (`Unauthorized`, `BodyTooLarge`, ...) when trying again
    is no use. A hub that is unreachable or busy is tried again, with growing delays, for `patience_s`; then
    `Unavailable` or `TooManyRequests`. All attempts carry the same `idempotency_key`, so that a hub
    which stored the first and could not say so stores nothing twice. The default is a new key for each call.

    `headers` may repeat names, and may be those of a `Message`: what belongs to a single connection (``Host``,
    ``Content-Length``, ...) is left out. `hops` are the routers that a message has passed; a hub refuses too many.
    """
    async with open_publisher(url, token=token, ca_file=ca_file, patience_s=patience_s) as publisher:
        return await publisher.publish(body, headers=headers, idempotency_key=idempotency_key, hops=hops)


class RequestBody(httpx.AsyncByteStream):
    """The body of one attempt. That of httpx is a generator, left behind unfinished when a hub refuses early."""

    def __init__(self, body: bytes) -> None:
        self._rest = [body]

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if not self._rest:
            raise StopAsyncIteration
        return self._rest.pop()


def _passed_on(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    kept = [(name, value) for name, value in end_to_end(headers) if name.lower() not in _SET_HERE]
    if not any(name.lower() == "user-agent" for name, _ in kept):
        kept.append(("User-Agent", f"hookbot/{__version__}"))
    return kept


def _refusal(answer: httpx.Response) -> HookbotError:
    return error_of(answer.status_code, {name.lower(): value for name, value in answer.headers.items()}, answer.content)


def proxy_for_httpx(proxy: Address | None, tls: ssl.SSLContext) -> httpx.Proxy | None:
    """The proxy as httpx wants it."""
    if proxy is None:
        return None
    headers = dict(proxy.authorization_header("Proxy-Authorization"))
    return httpx.Proxy(str(proxy), ssl_context=tls if proxy.secure else None, headers=headers)
