"""A complete hub in a thread of its own, for tests that block: with `requests`, a test client, or a browser."""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

import trio

from ..protocol.message import Headers, Message
from ..routers import Router
from .background import in_background
from .hub import TestHub, open_test_hub

T = TypeVar("T")


class ThreadedHub:
    """A `TestHub` in a thread of its own. Made by `threaded_hub`; its methods block, and any thread may call them."""

    def __init__(self, hub: TestHub, nursery: trio.Nursery) -> None:
        self.url = hub.url
        """URL of the hub, such as ``http://127.0.0.1:40001``."""
        self._hub = hub
        self._nursery = nursery
        self._trio = trio.lowlevel.current_trio_token()

    def url_for(self, path: str) -> str:
        """URL of a path, with the token that opens it, as `TestHub.url_for`."""
        return self._hub.url_for(path)

    def publish(
        self,
        topic: str,
        body: bytes = b"",
        headers: Headers | Mapping[str, str] = (),
        *,
        verified: str | None = None,
        query: str = "",
    ) -> None:
        """Store a message directly, as `TestHub.publish`."""
        self._call(partial(self._hub.publish, topic, body, headers, verified=verified, query=query))

    def play(self, messages: Iterable[Message]) -> None:
        """Store messages again, as `TestHub.play`."""
        self._call(partial(self._hub.play, messages))

    def wait_for(self, topic: str, count: int = 1, *, timeout_s: float = 10.0) -> Sequence[Message]:
        """First `count` messages since the hub started, as `TestHub.wait_for`.

        Raises `TimeoutError` if they are not stored in time.
        """

        async def wait() -> Sequence[Message]:
            with trio.move_on_after(timeout_s):
                return await self._hub.wait_for(topic, count)
            number = "no message" if count == 1 else f"fewer than {count} messages"
            raise TimeoutError(f"{number} on {topic!r} within {timeout_s:g} s")

        return self._call(wait)

    def _call(self, function: Callable[[], Awaitable[T]]) -> T:
        """Result of an async function in the thread of the hub.

        Raises `RuntimeError` if the hub has ended, and `CancelledError` if it does so meanwhile.
        """
        # Not `trio.from_thread.run`, which refuses to block a test that runs on Trio itself.
        result: Future[T] = Future()

        async def run() -> None:
            try:
                result.set_result(await function())
            except Exception as error:  # noqa: BLE001
                # Raised in the test.
                result.set_exception(error)
            finally:
                result.cancel()

        def start() -> None:
            try:
                self._nursery.start_soon(run)
            except RuntimeError:
                # The hub is about to end.
                result.cancel()

        self._trio.run_sync_soon(start)
        return result.result()

    def _stop(self) -> None:
        self._trio.run_sync_soon(self._nursery.cancel_scope.cancel)


@contextmanager
def threaded_hub(*routers: Router, sources: Sequence[Mapping[str, Any]] = ()) -> Iterator[ThreadedHub]:
    """A hub as `open_test_hub`, in a thread of its own until the block ends. Raises its errors."""

    async def run(ready: Future[ThreadedHub]) -> None:
        async with open_test_hub(*routers, sources=sources) as hub, trio.open_nursery() as nursery:
            ready.set_result(ThreadedHub(hub, nursery))
            await trio.sleep_forever()

    with in_background(lambda ready: trio.run(run, ready), ThreadedHub._stop) as hub:
        yield hub
