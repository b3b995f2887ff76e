"""Functions that pass their result to a callback, called from a task that waits for it."""

from collections.abc import Callable
from typing import TypeVar

import trio

T = TypeVar("T")

Callback = Callable[[T | Exception], None]
"""Function that is called once, in the event loop, with a result or with the error instead of it."""


async def result_of(start: Callable[[Callback[T]], None]) -> T:
    """Result that `start` passes to its callback, at once or later; an error is raised. Not cancellable."""
    results: list[T | Exception] = []
    finished = trio.Event()

    def done(result: T | Exception) -> None:
        results.append(result)
        finished.set()

    start(done)
    with trio.CancelScope(shield=True):
        await finished.wait()
    [result] = results
    if isinstance(result, Exception):
        raise result
    return result
