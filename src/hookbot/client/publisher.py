"""Publishing: a hub stores a message once, even if the first response is lost and the client retries."""

import logging
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import trio

from ..backoff import Backoff
from ..errors import Lost
from ..protocol.headers import encoded, end_to_end
from ..protocol.message import check_id
from ..protocol.response import error_from
from ..version import __version__
from .address import Address, check_publishable
from .connect import failure
from .errors import PASSING, retry_after
from .http import TIMEOUT_S, RequestBody, beginning_of, open_client

# Long enough for a hub to restart; after that, the caller has to decide.
PATIENCE_S = 30.0
# Uploads over a very slow line still end in time.
SLOWEST_BYTES_S = 10_000

logger = logging.getLogger(__package__)

_SET_HERE = frozenset({"authorization", "hookbot-hops", "idempotency-key"})
"""Header fields of the publish itself, not of the message; in the given headers they are ignored."""


class Publisher:
    """A publisher to one topic, over the persistent connections of `client`. Several tasks may publish at once."""

    def __init__(
        self,
        address: Address,
        client: httpx.AsyncClient,
        patience_s: float,
        backoff: Callable[[], Backoff] = Backoff,
    ) -> None:
        self._address = address
        self._client = client
        self._patience_s = patience_s
        self._backoff = backoff

    async def publish(
        self,
        body: bytes | str,
        *,
        headers: Iterable[tuple[str, str]] = (),
        idempotency_key: str | None = None,
        hops: Sequence[str] = (),
    ) -> str:
        """Publish to the topic as the function `publish` does: same result, errors and retries."""
        data = body.encode() if isinstance(body, str) else body
        fields = [("Host", self._address.netloc), ("Content-Length", str(len(data))), *_passed_on(headers)]
        fields.append(("Idempotency-Key", idempotency_key or uuid.uuid4().hex))
        fields += self._address.authorization_header()
        if hops:
            fields.append(("Hookbot-Hops", ",".join(hops)))
        return await self._post_with_retries(encoded(fields), data)

    async def _post_with_retries(self, headers: list[tuple[bytes, bytes]], body: bytes) -> str:
        backoff = self._backoff()
        give_up_at = trio.current_time() + self._patience_s
        while True:
            try:
                return await self._post(headers, body)
            except PASSING as problem:
                delay_s = backoff.next_s(at_least_s=retry_after(problem))
                # No point in waiting if there is no time left for another attempt.
                if trio.current_time() + delay_s > give_up_at:
                    raise
                logger.warning("%s; trying again in %.1f s", problem, delay_s)
            await trio.sleep(delay_s)

    async def _post(self, headers: list[tuple[bytes, bytes]], body: bytes) -> str:
        target = self._address.target(self._address.query).encode()
        request = httpx.Request(
            "POST", self._address.origin, headers=headers, stream=RequestBody(body), extensions={"target": target}
        )
        timeout_s = self._client.timeout.read or TIMEOUT_S
        try:
            # The timeout of httpx is for each read: a response could arrive byte by byte for ever.
            with trio.fail_after(2 * timeout_s + len(body) / SLOWEST_BYTES_S):
                response = await self._client.send(request, stream=True)
        except (httpx.TimeoutException, trio.TooSlowError):
            raise Lost(f"cannot publish to {self._address}: no response within {timeout_s:g} s") from None
        except httpx.TransportError as error:
            raise await failure(f"cannot publish to {self._address}", error, self._address) from None
        answer = await beginning_of(response)
        if response.status_code != 200:
            raise error_from(response.status_code, response.headers, answer)
        if not (response.headers.get("Hookbot-Message-Id") or answer.strip() == b"OK"):
            raise Lost(f"{self._address} answers 200, but not as a hub does: is it the URL of a hub?")
        return _id_in(response)


@asynccontextmanager
async def open_publisher(
    url: str,
    *,
    token: str | None = None,
    ca_file: str | Path | None = None,
    patience_s: float = PATIENCE_S,
    backoff: Callable[[], Backoff] = Backoff,
) -> AsyncIterator[Publisher]:
    """Publisher to one topic that keeps its connections until the block ends.

    Raises `Refused` for a URL that is invalid or for listening, `ConfigError` for an invalid CA file or proxy.
    """
    address = Address.parse(url, token)
    check_publishable(address)
    async with open_client(address, ca_file) as client:
        yield Publisher(address, client, patience_s, backoff)


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
    backoff: Callable[[], Backoff] = Backoff,
) -> str:
    """Publish `body`, text as UTF-8, and return the id of the message.

    When it returns, the message is stored. (A hub older than 1.0 stores nothing, and the id is "".) Raises `Refused`
    (`Unauthorized`, `BodyTooLarge`, ...) if the hub refuses for good. If the hub is unreachable or busy, retries with
    growing delays, but begins no attempt after `patience_s`; then raises `Unavailable`, or one of the subclasses
    `TooManyRequests` and `RequestTimeout` of `Refused`. All attempts carry the same `idempotency_key`, by default a new
    one for each call, so that a hub whose first response was lost does not store the message twice. If all attempts
    fail or it is cancelled, the message may or may not be stored.

    `headers` may repeat names, and may be those of a `Message`: fields of a single connection (``Host``,
    ``Content-Length``, ...), ``Authorization``, ``Idempotency-Key`` and ``Hookbot-Hops`` are left out. `hops` are the
    routers that the message came through; a hub refuses too many. `backoff` makes the delays between attempts.
    """
    async with open_publisher(url, token=token, ca_file=ca_file, patience_s=patience_s, backoff=backoff) as publisher:
        return await publisher.publish(body, headers=headers, idempotency_key=idempotency_key, hops=hops)


def _id_in(response: httpx.Response) -> str:
    """The id that the hub gave the message; empty if it gave none, or what is no id: stored it is all the same."""
    try:
        return check_id(response.headers.get("Hookbot-Message-Id"))
    except ValueError:
        return ""


def _passed_on(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    kept = [(name, value) for name, value in end_to_end(headers) if name.lower() not in _SET_HERE]
    if not any(name.lower() == "user-agent" for name, _ in kept):
        kept.append(("User-Agent", f"hookbot/{__version__}"))
    return kept
