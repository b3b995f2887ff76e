"""Threads in which something runs while a test uses it."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import TypeVar

from ..errors import sole_error

T = TypeVar("T")


@contextmanager
def in_background(main: Callable[["Future[T]"], object], stop: Callable[[T], object]) -> Iterator[T]:
    """Value that `main`, which runs in a thread, sets as the result of the future that it is given when it is ready.

    At the end of the block, `stop` is called with it, to end `main`. Errors of `main` are raised at the beginning or at
    the end.
    """
    ready: Future[T] = Future()

    def run() -> None:
        try:
            main(ready)
        except BaseException as error:  # noqa: BLE001
            # Raised where the test is.
            if ready.done():
                raise sole_error(error) from None
            ready.set_exception(sole_error(error))

    with ThreadPoolExecutor(1, "hookbot-testing") as pool:
        ended = pool.submit(run)
        value = ready.result()
        try:
            yield value
        finally:
            # It may have ended by itself: both event loops raise this then.
            with suppress(RuntimeError):
                stop(value)
            ended.result()
