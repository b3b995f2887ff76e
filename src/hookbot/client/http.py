"""HTTP requests: connections that stay open, header fields, bodies, and questions to a hub's own paths."""

import re
import ssl
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path
from typing import Any

import httpx

from ..errors import HookbotError, Lost, Refused
from ..protocol.response import error_from
from .address import Address
from .connect import proxy_of, reason_of, tls_context

TIMEOUT_S = 30.0

HOP_BY_HOP = frozenset(
    {"connection", "content-length", "expect", "host", "keep-alive", "proxy-authorization", "proxy-connection"}
    | {"te", "trailer", "transfer-encoding", "upgrade"}
)
"""Header fields of one connection, or set anew for the next (RFC 9110, section 7.6.1)."""

_NAME = re.compile(rb"[-!#$%&'*+.^_`|~0-9A-Za-z]+")  # RFC 9110, section 5.6.2
_VALUE = re.compile(rb"(?:[^\x00\s](?:(?:[^\x00\s]|[ \t])*[^\x00\s])?)?")


def open_client(address: Address, ca_file: str | Path | None = None) -> httpx.AsyncClient:
    """Connections to the hub at `address` that stay open, for requests to any of its paths: a context manager."""
    tls = tls_context(ca_file)
    proxy = proxy_for_httpx(proxy_of(address), tls)
    return httpx.AsyncClient(verify=tls, proxy=proxy, timeout=TIMEOUT_S, trust_env=False)


async def ask(
    address: Address, method: str = "GET", *, query: Mapping[str, str] = {}, ca_file: str | Path | None = None
) -> Any:
    """The JSON that one of the hub's own paths, ``/hookbot/v1/...``, answers. Raises `Lost`, or why the hub refused."""
    headers = dict(address.authorization_header())
    try:
        async with open_client(address, ca_file) as client:
            response = await client.request(method, str(address), params=dict(query), headers=headers)
            if response.is_success:
                return response.json()
    except httpx.TransportError as error:
        raise Lost(f"no answer from {address}: {reason_of(error)}") from None
    except ValueError:
        raise Lost(f"what answers at {address} is not a hub") from None
    raise refusal(response)


def refusal(response: httpx.Response) -> HookbotError:
    """The error that the hub raised before it answered like this."""
    return error_from(response.status_code, dict(response.headers), response.content)  # httpx has names in lower case


def proxy_for_httpx(proxy: Address | None, tls: ssl.SSLContext) -> httpx.Proxy | None:
    """The proxy as httpx wants it."""
    if proxy is None:
        return None
    headers = dict(proxy.authorization_header("Proxy-Authorization"))
    return httpx.Proxy(str(proxy), ssl_context=tls if proxy.secure else None, headers=headers)


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


def encoded(headers: Iterable[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    """Header fields as bytes, latin-1 as in a `Message`; raises `Refused`, with the name only, for what is none."""
    return [_encoded(name, value) for name, value in headers]


def end_to_end(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Header fields for the next connection too: all but `HOP_BY_HOP`, and those that a ``Connection`` header names."""
    fields = list(headers)
    named = {
        part.strip().lower() for name, value in fields if name.lower() == "connection" for part in value.split(",")
    }
    return [(name, value) for name, value in fields if name.lower() not in HOP_BY_HOP | named]


def _encoded(name: str, value: str) -> tuple[bytes, bytes]:
    try:
        field = name.encode("ascii"), value.encode("latin-1")
    except UnicodeEncodeError:
        raise Refused(f"not a header: {name[:80]!r}") from None
    if not _NAME.fullmatch(field[0]) or not _VALUE.fullmatch(field[1]):
        raise Refused(f"not a header: {name[:80]!r}")
    return field
