"""Threads for what may take long, never end, or raise anything: the code of a router, and files that a reload reads."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import trio

from ..errors import describe

START_LIMIT_S = 30.0
"""Time for the import, the constructor and ``__aenter__`` of a router together; as long for its ``__aexit__``, and for
the files of a reload."""

T = TypeVar("T")


def contained(work: Callable[[], T]) -> T:
    """Result of a function, with its errors; one that would end the process, like `SystemExit`, as `RuntimeError`."""
    try:
        return work()
    except Exception:
        raise
    except BaseException as error:
        raise RuntimeError(f"it raised {describe(error)}") from error


async def run_in_thread(work: Callable[[], T], *, wait: bool = True) -> T:
    """Result of a function that runs `contained` in a thread of its own.

    If cancelled, waits for the thread, or with `wait=False` leaves it behind.
    """
    # A limiter of its own: threads that never end must not use up that of the process.
    limiter = trio.CapacityLimiter(1)
    return await trio.to_thread.run_sync(contained, work, abandon_on_cancel=not wait, limiter=limiter)


async def run_within_limit(work: Callable[[], T]) -> T:
    """Result of `run_in_thread`; raises `TimeoutError` after `START_LIMIT_S`, and leaves the thread behind."""
    with trio.move_on_after(START_LIMIT_S):
        return await run_in_thread(work, wait=False)
    raise TimeoutError(f"it is not there after {START_LIMIT_S:g} s")


@contextmanager
def exit_as_error() -> Iterator[None]:
    """Within the block, `os._exit` raises `SystemExit`: it would end a command with any exit code, without a word.

    For a process that does nothing else meanwhile.
    """
    end_process, process = os._exit, os.getpid()

    def refuse(code: int) -> None:
        # What it forks may end like this.
        if os.getpid() != process:
            end_process(code)
        raise SystemExit(code)

    setattr(os, "_exit", refuse)  # noqa: B010 - to mypy, it is a constant
    try:
        yield
    finally:
        setattr(os, "_exit", end_process)  # noqa: B010
