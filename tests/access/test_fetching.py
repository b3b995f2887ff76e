"""Downloads that clients trigger: small, in time, without redirects, and not too often."""

from functools import partial

import pytest
import trio

from hookbot.access.fetching import FETCHES_AT_ONCE, Fetches, fetch_small
from hookbot.access.rate_limits import Rate
from hookbot.errors import TooManyRequests, Unavailable
from support.targets import target

NOW_S = 1_700_000_000.0


class Fetcher:
    """Download that waits for the test, and counts."""

    def __init__(self) -> None:
        self.urls: list[str] = []
        self.go_on = trio.Event()
        self.error: Unavailable | None = None

    async def __call__(self, url: str) -> bytes:
        self.urls.append(url)
        await self.go_on.wait()
        if self.error:
            raise self.error
        return b"what is at " + url.encode()


# --- one


async def test_what_is_there_is_fetched() -> None:
    async with target(200) as there:
        assert await fetch_small(there.url) == b"because"
    [asked] = there.requests
    assert asked.all("accept-encoding") == ["identity"]


@pytest.mark.parametrize("status", [301, 307, 404, 500, 204, (302, ("Location", "http://127.0.0.1:1/elsewhere"))])
async def test_anything_but_what_is_there_is_none(status: int | tuple[int, tuple[str, str]]) -> None:
    async with target(status) as there:
        if status == 204:
            assert await fetch_small(there.url) == b""
        else:
            with pytest.raises(Unavailable, match="cannot be fetched"):
                await fetch_small(there.url)
    assert len(there.requests) == 1


async def test_nobody_there_is_unavailable() -> None:
    with pytest.raises(Unavailable, match=r"cannot be fetched: Connection refused$"):
        await fetch_small("http://127.0.0.1:1/")


@pytest.mark.parametrize(
    "url", ["http://[::1/x", "http://hub:port/x", "https://hub/" + "x" * 70_000, "https://hub..example/"]
)
async def test_what_is_no_url_is_unavailable(url: str) -> None:
    with pytest.raises(Unavailable, match="cannot be fetched") as caught:
        await fetch_small(url)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("path", ["", "x y", ":port"])
async def test_an_error_shows_neither_credentials_nor_query(path: str) -> None:
    async with target(401, 401, 401) as there:
        secret = there.url.replace("://", "://user:s3cret@") + path + "?token=s3cret"
        for options in ({}, {"max_bytes": 0}):
            with pytest.raises(Unavailable) as caught:
                await fetch_small(secret, **options)
            assert "s3cret" not in str(caught.value)


async def test_more_than_is_wanted_is_not_taken() -> None:
    async with target(200, 200) as there:
        assert await fetch_small(there.url, max_bytes=len(b"because")) == b"because"
        with pytest.raises(Unavailable, match="more than 6 bytes"):
            await fetch_small(there.url, max_bytes=len(b"because") - 1)


async def test_who_does_not_answer_is_not_waited_for() -> None:
    async with target(None) as silent:
        with pytest.raises(Unavailable, match="no complete response within"):
            await fetch_small(silent.url, timeout_s=0.05)


# --- many


async def test_downloads_that_hang_take_no_threads_from_others() -> None:
    async with target(*[None] * FETCHES_AT_ONCE) as there:
        fetches = Fetches()
        async with trio.open_nursery() as nursery:
            for number in range(FETCHES_AT_ONCE + 1):
                nursery.start_soon(partial(fetches.get, f"{there.url}?{number}", "192.0.2.1", now_s=NOW_S))
            await there.arrived(FETCHES_AT_ONCE)
            others = trio.to_thread.current_default_thread_limiter().borrowed_tokens
            hanging = len(there.requests)
            there.go()

    assert (others, hanging, len(there.requests)) == (0, FETCHES_AT_ONCE, FETCHES_AT_ONCE + 1)


async def test_who_needs_the_same_meanwhile_waits_for_it() -> None:
    fetch, cache = Fetcher(), dict[str, bytes]()
    fetches = Fetches(fetch)
    async with trio.open_nursery() as nursery:
        for client in "abc":
            nursery.start_soon(partial(fetches.fill, cache, "https://x", client, now_s=NOW_S))
        await trio.testing.wait_all_tasks_blocked()
        assert fetch.urls == ["https://x"]
        fetch.go_on.set()
    assert cache == {"https://x": b"what is at https://x"}
    assert fetch.urls == ["https://x"]


async def test_who_needs_it_for_another_source_does_not_wait() -> None:
    fetch, caches = Fetcher(), [dict[str, bytes](), dict[str, bytes]()]
    fetches = Fetches(fetch)
    fetch.go_on.set()
    async with trio.open_nursery() as nursery:
        for cache in caches:
            nursery.start_soon(partial(fetches.fill, cache, "https://x", "a", now_s=NOW_S))
    assert [list(cache) for cache in caches] == [["https://x"]] * 2


async def test_who_leaves_takes_nothing_from_those_who_wait() -> None:
    fetch, cache = Fetcher(), dict[str, bytes]()
    fetches = Fetches(fetch)
    async with trio.open_nursery() as nursery:
        leaving = trio.CancelScope()

        async def leave() -> None:
            with leaving:
                await fetches.fill(cache, "https://x", "a", now_s=NOW_S)

        nursery.start_soon(leave)
        await trio.testing.wait_all_tasks_blocked()
        for client in "bc":
            nursery.start_soon(partial(fetches.fill, cache, "https://x", client, now_s=NOW_S))
        await trio.testing.wait_all_tasks_blocked()
        leaving.cancel()
        await trio.testing.wait_all_tasks_blocked()
        fetch.go_on.set()
    assert cache.keys() == {"https://x"}
    assert len(fetch.urls) == 2


async def test_different_ones_are_fetched_side_by_side() -> None:
    fetch, cache = Fetcher(), dict[str, bytes]()
    fetches = Fetches(fetch)
    async with trio.open_nursery() as nursery:
        for url in ("https://x", "https://y"):
            nursery.start_soon(partial(fetches.fill, cache, url, "a", now_s=NOW_S))
        await trio.testing.wait_all_tasks_blocked()
        assert sorted(fetch.urls) == ["https://x", "https://y"]
        fetch.go_on.set()


async def test_what_cannot_be_fetched_is_tried_again_by_the_next() -> None:
    fetch, cache = Fetcher(), dict[str, bytes]()
    fetches = Fetches(fetch)
    fetch.go_on.set()
    fetch.error = Unavailable("gone")
    for _ in range(2):
        with pytest.raises(Unavailable, match="gone"):
            await fetches.fill(cache, "https://x", "a", now_s=NOW_S)
    fetch.error = None
    await fetches.fill(cache, "https://x", "a", now_s=NOW_S)
    assert cache.keys() == {"https://x"}
    assert len(fetch.urls) == 3


async def test_nobody_waits_for_ever_for_one_who_was_cancelled() -> None:
    fetch, cache = Fetcher(), dict[str, bytes]()
    fetches = Fetches(fetch)
    with trio.CancelScope() as first:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(fetches.fill, cache, "https://x", "a", now_s=NOW_S))
            await trio.testing.wait_all_tasks_blocked()
            first.cancel()
    fetch.go_on.set()
    await fetches.fill(cache, "https://x", "b", now_s=NOW_S)
    assert cache.keys() == {"https://x"}


async def test_one_address_causes_only_so_many_and_others_can_go_on() -> None:
    fetch, cache = Fetcher(), dict[str, bytes]()
    fetches = Fetches(fetch, Rate(2, 60))
    fetch.go_on.set()
    for number in range(2):
        await fetches.fill(cache, f"https://{number}", "a", now_s=NOW_S)
    with pytest.raises(TooManyRequests):
        await fetches.fill(cache, "https://2", "a", now_s=NOW_S)
    with pytest.raises(TooManyRequests):
        await fetches.get("https://confirm", "a", now_s=NOW_S)
    await fetches.fill(cache, "https://2", "b", now_s=NOW_S)
    assert len(fetch.urls) == 3
