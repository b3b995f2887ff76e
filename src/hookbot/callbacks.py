"""Functions that pass their result to a callback, called from a task that waits for it."""

from collections.abc import Callable
from typing import TypeVar

import trio

T = TypeVar("T")

Callback = Callable[[T | Exception], None]
"""Function that is called once, in the event loop, with a result or with the error instead of it."""


async def result_of(start: Callable[[Callback[T]], None]) -> T:
    """Result that `start` passes to its callback, at once or later; an error is raised. Not cancellable."""
    task, waits = trio.lowlevel.current_task(), False
    results: list[T | Exception] = []

    def done(result: T | Exception) -> None:
        results.append(result)
        if waits:
            trio.lowlevel.reschedule(task)

    start(done)
    if results:
        await trio.lowlevel.cancel_shielded_checkpoint()
    else:
        waits = True
        await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.FAILED)
    [result] = results
    if isinstance(result, Exception):
        raise result
    return result
