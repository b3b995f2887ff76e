"""What verifying a publish may have to wait for: a thread for large bodies, and the certificates of some senders."""

from collections.abc import Awaitable, Callable

import httpx
import trio

from .errors import Unavailable
from .message import Draft
from .publishing import Accepted, Confirmation, Publishing
from .signatures import CertificateNeeded, Reply

LARGE_BODY = 256 << 10  # takes more than a millisecond or so to verify
FETCH_TIMEOUT_S = 10
MAX_FETCHED_BYTES = 64 << 10

Fetch = Callable[[str], Awaitable[bytes]]


async def verify(publishing: Publishing, body: bytes, *, now_s: float, fetch: Fetch | None = None) -> Draft | Reply:
    """`Publishing.accept`, without holding up the loop, and with whatever has to be fetched for it.

    Raises `BadSignature`, `BodyTooLarge`, or `Unavailable` when something cannot be fetched.
    """
    fetch = fetch or fetch_small
    try:
        accepted = await _accept(publishing, body, now_s)
    except CertificateNeeded as needed:
        needed.cache[needed.url] = await fetch(needed.url)
        accepted = await _accept(publishing, body, now_s)
    if isinstance(accepted, Confirmation):
        await fetch(accepted.url)
        return accepted.draft
    return accepted


async def fetch_small(url: str) -> bytes:
    """What is at a URL whose host the provider's rule has pinned; raises `Unavailable`."""
    try:
        async with httpx.AsyncClient(timeout=FETCH_TIMEOUT_S) as client, client.stream("GET", url) as response:
            response.raise_for_status()
            data = b""
            async for chunk in response.aiter_bytes():
                data += chunk
                if len(data) > MAX_FETCHED_BYTES:
                    raise Unavailable(f"what is at {url} is longer than {MAX_FETCHED_BYTES} bytes")
            return data
    except httpx.HTTPError as error:
        raise Unavailable(f"{url} cannot be fetched: {error!r}") from None


async def _accept(publishing: Publishing, body: bytes, now_s: float) -> Accepted:
    if len(body) <= LARGE_BODY:
        await trio.lowlevel.checkpoint()
        return publishing.accept(body, now_s=now_s)
    return await trio.to_thread.run_sync(lambda: publishing.accept(body, now_s=now_s))
