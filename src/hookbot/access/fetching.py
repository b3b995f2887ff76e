"""Fetches that untrusted clients can cause: small, never twice at once, and rate-limited."""

from collections.abc import Awaitable, Callable, MutableMapping

import httpx
import trio

from ..errors import Unavailable
from .rate_limits import Rate, RateLimiter

TIMEOUT_S = 10
MAX_BYTES = 64 << 10
FETCHES = Rate(20, 60)
"""The limit for one client. A hub needs one in a while: senders change their certificates once a year."""

Fetch = Callable[[str], Awaitable[bytes]]


async def fetch_small(url: str, *, max_bytes: int = MAX_BYTES) -> bytes:
    """The content at a URL; raises `Unavailable`. Redirects are not followed: they lead away from a pinned host."""
    try:
        with trio.fail_after(TIMEOUT_S):
            return await trio.to_thread.run_sync(_fetch, url, max_bytes, abandon_on_cancel=True)
    except trio.TooSlowError:
        raise Unavailable(f"{url} cannot be fetched: it takes longer than {TIMEOUT_S} seconds") from None
    except httpx.HTTPError as error:
        raise Unavailable(f"{url} cannot be fetched: {error!r}") from None


class Fetches:
    """Fetches of certificates and confirmations, which verifying a publish may need."""

    def __init__(self, fetch: Fetch = fetch_small, rate: Rate = FETCHES) -> None:
        self._fetch = fetch
        self._limiter = RateLimiter(rate)
        self._under_way: dict[str, trio.Event] = {}

    async def get(self, url: str, client: str, *, now_s: float) -> bytes:
        """The content at `url`; raises `Unavailable`, or `TooManyRequests` if requests of `client` cause too many."""
        self._limiter.use(client, "requests that make this hub fetch something", now_s=now_s)
        return await self._fetch(url)

    async def fill(self, cache: MutableMapping[str, bytes], url: str, client: str, *, now_s: float) -> None:
        """Put the content at `url` into the cache; whoever needs the same meanwhile waits, and finds it there or not.

        Raises like `get`.
        """
        if url in self._under_way:
            await self._under_way[url].wait()
            return
        done = self._under_way[url] = trio.Event()
        try:
            cache[url] = await self.get(url, client, now_s=now_s)
        finally:
            del self._under_way[url]
            done.set()


def _fetch(url: str, max_bytes: int) -> bytes:
    """Runs in a thread, since httpx leaves asynchronous generators behind when it is cancelled half-way."""
    headers = {"Accept-Encoding": "identity"}
    with httpx.Client(headers=headers, timeout=TIMEOUT_S) as client, client.stream("GET", url) as response:
        response.raise_for_status()
        data = b""
        for chunk in response.iter_raw():
            data += chunk
            if len(data) > max_bytes:
                raise Unavailable(f"what is at {url} is longer than {max_bytes} bytes")
        return data
