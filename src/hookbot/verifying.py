"""What verifying a publish may have to wait for: a thread for large bodies, and the certificates of some senders."""

from collections.abc import Awaitable, Callable

import httpx
import trio

from .errors import Unavailable
from .message import Draft
from .publishing import Publishing
from .signatures import CertificateNeeded, Reply

LARGE_BODY = 256 << 10  # takes more than a millisecond or so to verify
FETCH_TIMEOUT_S = 10
MAX_CERTIFICATE_BYTES = 64 << 10

Fetch = Callable[[str], Awaitable[bytes]]


async def verify(publishing: Publishing, body: bytes, *, now_s: float, fetch: Fetch | None = None) -> Draft | Reply:
    """`Publishing.accept`, without holding up the loop, and with the certificates that it needs.

    Raises `BadSignature`, `BodyTooLarge`, or `Unavailable` when a certificate cannot be fetched.
    """
    try:
        return await _accept(publishing, body, now_s)
    except CertificateNeeded as needed:
        needed.cache[needed.url] = await (fetch or fetch_certificate)(needed.url)
    return await _accept(publishing, body, now_s)


async def fetch_certificate(url: str) -> bytes:
    """What is at a URL whose host the provider's rule has pinned; raises `Unavailable`."""
    try:
        async with httpx.AsyncClient(timeout=FETCH_TIMEOUT_S) as client, client.stream("GET", url) as response:
            response.raise_for_status()
            data = b""
            async for chunk in response.aiter_bytes():
                data += chunk
                if len(data) > MAX_CERTIFICATE_BYTES:
                    raise Unavailable(f"what is at {url} is no certificate, it is too long")
            return data
    except httpx.HTTPError as error:
        raise Unavailable(f"the certificate at {url} cannot be fetched: {error!r}") from None


async def _accept(publishing: Publishing, body: bytes, now_s: float) -> Draft | Reply:
    if len(body) <= LARGE_BODY:
        await trio.lowlevel.checkpoint()
        return publishing.accept(body, now_s=now_s)
    return await trio.to_thread.run_sync(lambda: publishing.accept(body, now_s=now_s))
