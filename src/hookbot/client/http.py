"""HTTP requests to a hub: persistent connections, bodies, and requests to the operators' paths."""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import trio

from ..errors import Lost, kind_of
from ..protocol.message import check_id
from ..protocol.response import error_from
from .address import Address
from .connect import failure, open_unsecured, proxy_of, tls_context

# httpx applies it to each read and write.
TIMEOUT_S = 30.0
# Less, so that a proxy that is silent is named, and not the hub behind it.
_CONNECT_S = 20.0

# A connection can be reused only if the response was read to its end; a slow response is not worth waiting for.
DRAIN_S = 2.0
# Enough of a response to find the reason of a failure.
BEGINNING_BYTES = 2000
# A hub with 50,000 cursors lists them in less.
MAX_ANSWER_BYTES = 16 << 20
_ANSWER_S = 10.0
# A line of progress names at most some topics.
_MAX_LINE_BYTES = 1 << 20


def open_client(address: Address, ca_file: str | Path | None = None, *, direct: bool = False) -> httpx.AsyncClient:
    """HTTP client for the hub at `address`, a context manager; `direct`: never through a proxy.

    Raises `ConfigError` for an invalid CA file or proxy.
    """
    # It takes httpcore, whose import takes a fifth of a second, which listeners and the shell's completion need not.
    from .transport import Transport  # noqa: PLC0415

    tls = tls_context(ca_file)
    proxy = None if direct else proxy_of(address)
    transport = Transport(lambda server, timeout_s: open_unsecured(server, proxy, tls, timeout_s), tls)
    # Not `trust_env`: ~/.netrc holds no hub's token.
    return httpx.AsyncClient(transport=transport, timeout=httpx.Timeout(TIMEOUT_S, connect=_CONNECT_S), trust_env=False)


async def ask(
    address: Address, method: str = "GET", *, query: Mapping[str, str] = {}, ca_file: str | Path | None = None
) -> Any:
    """Parsed JSON response of an operators' path, ``/hookbot/v1/...``; the query of the address is not sent.

    Raises `Lost` if there is no response or it is not JSON, the error of `error_from` for any status but 2xx, and
    `ConfigError` for an invalid CA file or proxy, and `Refused` for a scheme that is not that of the port.
    """
    async with open_client(address, ca_file) as client:
        request = client.build_request(
            method, str(address), params=dict(query), headers=dict(address.authorization_header())
        )
        status, headers, body = await fetch(client, request, address, max_bytes=MAX_ANSWER_BYTES, drain_s=_ANSWER_S)
    if not 200 <= status < 300:
        raise error_from(status, headers, body)
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise Lost(f"the response from {address} is not JSON, or not whole: is it the URL of a hub?") from None


async def ask_lines(
    address: Address, method: str, key: str, *, query: Mapping[str, str], ca_file: str | Path | None = None
) -> AsyncGenerator[dict[str, Any], None]:
    """Objects in the lines of the response of an operators' path that answers with lines of JSON. Raises as `ask`.

    `key` is the Idempotency-Key of the request, if it has one.
    """
    async with open_client(address, ca_file) as client:
        headers = {**dict(address.authorization_header()), **({"Idempotency-Key": key} if key else {})}
        # Not decoded, so that nothing compressed grows.
        headers["Accept-Encoding"] = "identity"
        request = client.build_request(method, str(address), params=query, headers=headers)
        try:
            response = await client.send(request, stream=True)
            if not response.is_success:
                raise error_from(response.status_code, response.headers, await beginning_of(response))
            rest = b""
            async for chunk in response.aiter_raw():
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    yield _object_in(line)
                if len(rest) > _MAX_LINE_BYTES:
                    raise ValueError("a line does not end")
            if rest:
                yield _object_in(rest)
        except httpx.TransportError as error:
            raise await failure(f"the response from {address} broke off", error, address) from None
        except (ValueError, RecursionError):
            raise Lost(f"the response from {address} is not in lines of JSON: is it the URL of a hub?") from None


def id_in(answer: Any) -> str:
    """The id of a message in a response of `ask`. Raises `Lost` if it has none as a hub's does."""
    try:
        return check_id(answer["id"])
    except (LookupError, TypeError, ValueError):
        raise Lost("the response is not that of a hub: it has no id") from None


def rows(answer: Any, name: str) -> list[dict[str, Any]]:
    """The objects that a response of `ask` lists under `name`. Raises `Lost` if it lists none as a hub does."""
    listed = answer.get(name) if isinstance(answer, dict) else None
    if not isinstance(listed, list) or not all(isinstance(row, dict) for row in listed):
        raise Lost(f"the response is not that of a hub: it has no list of {name}")
    return listed


def _object_in(line: bytes) -> dict[str, Any]:
    """The JSON object in a line. Raises `ValueError`, and `RecursionError` if it is deep."""
    found = json.loads(line)
    if not isinstance(found, dict):
        raise ValueError(f"it is {kind_of(found)}")
    return found


async def fetch(
    client: httpx.AsyncClient,
    request: httpx.Request,
    address: Address,
    *,
    max_bytes: int = BEGINNING_BYTES,
    drain_s: float = DRAIN_S,
) -> tuple[int, Mapping[str, str], bytes]:
    """Status, header fields, and the first `max_bytes` of the body of a response.

    The body is not decoded, so that no compressed one grows. Raises `Lost` if there is no response within
    `TIMEOUT_S`, and `Refused` for a scheme that is not that of the port.
    """
    request.headers["Accept-Encoding"] = "identity"
    try:
        with trio.fail_after(TIMEOUT_S):
            response = await client.send(request, stream=True)
    except (trio.TooSlowError, httpx.TimeoutException):
        raise Lost(f"no response from {address} within {TIMEOUT_S:g} s") from None
    except httpx.TransportError as error:
        raise await failure(f"no response from {address}", error, address) from None
    body = await beginning_of(response, drain_s, max_bytes=max_bytes)
    return response.status_code, response.headers, body


async def beginning_of(
    response: httpx.Response, drain_s: float = DRAIN_S, *, max_bytes: int = BEGINNING_BYTES
) -> bytes:
    """First bytes of the body of a response that was requested as a stream, as `body_of` reads it."""
    return (await body_of(response, drain_s, max_bytes=max_bytes))[0]


async def body_of(response: httpx.Response, drain_s: float, *, max_bytes: int) -> tuple[bytes, bool]:
    """First bytes of the body of a response that was requested as a stream, not decoded; True if these are all.

    The body is read to its end, so that the connection can be kept, but for no longer than `drain_s`. That it breaks
    off is no error: status and header fields are known.
    """
    beginning = bytearray()
    size, ended = 0, False
    try:
        with trio.move_on_after(drain_s), suppress(httpx.TransportError):
            async for chunk in response.aiter_raw():
                beginning += chunk[: max_bytes - len(beginning)]
                size += len(chunk)
            ended = "is_broken" not in response.extensions
    finally:
        # Shielded, or a timeout would leave the connection open in the pool.
        with trio.CancelScope(shield=True):
            await response.aclose()
    return bytes(beginning), ended and size == len(beginning)


class RequestBody(httpx.AsyncByteStream):
    """Request body, from its beginning each time that it is sent.

    httpx's own is an async generator, which is left suspended if the server responds before reading all of it;
    Trio warns when such a generator is garbage collected.
    """

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._rest: list[bytes] = []

    def __aiter__(self) -> AsyncIterator[bytes]:
        self._rest = [self._body]
        return self

    async def __anext__(self) -> bytes:
        if not self._rest:
            raise StopAsyncIteration
        return self._rest.pop()
