"""Downloads that untrusted clients can trigger: limited in size, time and rate."""

from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field

import trio

from ..errors import Unavailable, innermost_error, system_reason
from ..protocol.urls import without_secrets
from ..threads import ThreadLimiter
from .rate_limits import Rate, RateLimiter

# AWS SNS, which most often needs a download, waits 15 seconds for the response to a delivery.
TIMEOUT_S = 10
# A certificate chain has a few KiB.
MAX_BYTES = 64 << 10
FETCHES = Rate(20, 60)
"""Limit on the downloads for one client network. They are rare: senders replace certificates about once a year."""
# Each takes a thread for up to `TIMEOUT_S`, even if its client leaves: they must not take all those that others need.
FETCHES_AT_ONCE = 8

Fetch = Callable[[str], Awaitable[bytes]]
"""Function that returns the content at a URL. Raises `Unavailable`."""

_threads = ThreadLimiter("threads for downloads", FETCHES_AT_ONCE)


async def fetch_small(url: str, *, max_bytes: int = MAX_BYTES, timeout_s: float = TIMEOUT_S) -> bytes:
    """Content at a URL. Redirects are not followed: they lead away from a pinned host.

    Raises `Unavailable` if the request fails, the content is too large, or it is not complete in time.
    """
    try:
        with trio.fail_after(timeout_s):
            return await trio.to_thread.run_sync(
                _fetch, url, max_bytes, timeout_s, abandon_on_cancel=True, limiter=_threads()
            )
    except trio.TooSlowError:
        raise _failed(url, f"no complete response within {timeout_s:g} seconds") from None


class Fetches:
    """Downloads of certificates and confirmation URLs: `FETCHES_AT_ONCE`, with a rate limit for each client network."""

    def __init__(self, fetch: Fetch = fetch_small, rate: Rate = FETCHES) -> None:
        self._fetch = fetch
        self._limiter = RateLimiter(rate, "requests that make this hub fetch something")
        self._under_way: dict[tuple[int, str], _Download] = {}

    async def get(self, url: str, client: str, *, now_s: float) -> bytes:
        """Content at `url`. Raises `Unavailable`, or `TooManyRequests` if the network `client` exceeds its rate."""
        self._limiter.use(client, now_s=now_s)
        return await self._fetch(url)

    async def fill(self, cache: MutableMapping[str, bytes], url: str, client: str, *, now_s: float) -> None:
        """Download the content at `url` into `cache`. Raises the same errors as `get`.

        Concurrent calls for the same URL and cache only wait for the first one; if it fails, they return without
        content. If it is cancelled, since its client has left, the next one downloads in its place.
        """
        # Caches belong to sources: a download for one of them would not help the clients of another.
        key = id(cache), url
        while key in self._under_way:
            first = self._under_way[key]
            await first.ended.wait()
            if not first.cancelled:
                return
        download = self._under_way[key] = _Download()
        try:
            cache[url] = await self.get(url, client, now_s=now_s)
        except trio.Cancelled:
            download.cancelled = True
            raise
        finally:
            del self._under_way[key]
            download.ended.set()


@dataclass(slots=True)
class _Download:
    ended: trio.Event = field(default_factory=trio.Event)
    cancelled: bool = False


def _fetch(url: str, max_bytes: int, timeout_s: float) -> bytes:
    """Content at a URL. Blocking, for a thread: async httpx leaks asynchronous generators if it is cancelled midway."""
    # Imported by the thread of the first download: few hubs have any, and it takes as long as importing Trio.
    import httpx  # noqa: PLC0415

    # Neither compressed nor decoded: compressed content could expand to more than `max_bytes` in one step.
    headers = {"Accept-Encoding": "identity"}
    data = b""
    try:
        with httpx.Client(headers=headers, timeout=timeout_s) as client, client.stream("GET", url) as response:
            response.raise_for_status()
            for chunk in response.iter_raw():
                data += chunk
                if len(data) > max_bytes:
                    raise _failed(url, f"it has more than {max_bytes} bytes")
        return data
    except httpx.HTTPStatusError as error:
        # Its text contains the URL, with its credentials.
        reason = f"the response is {error.response.status_code}"
    # ValueError: a host that cannot be encoded. The texts of these quote parts of the URL.
    except (httpx.InvalidURL, ValueError):
        reason = "it is not a URL"
    except httpx.HTTPError as error:
        reason = system_reason(innermost_error(error)) or type(error).__name__
    raise _failed(url, reason)


def _failed(url: str, reason: str) -> Unavailable:
    return Unavailable(f"{without_secrets(url)} cannot be fetched: {reason}")
