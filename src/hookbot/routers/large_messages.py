"""Threads for large messages: what a router computes from one must not hold up the hub."""

from collections.abc import Callable
from typing import TypeVar

import trio

from ..protocol.message import Message
from ..threads import ThreadLimiter

SMALL_BYTES = 16 << 10
"""Size up to which parsing a message and evaluating an expression takes a few milliseconds at most."""
THREADS = 2
"""Threads of all routers together. Each may hold a parsed body, which takes several times the memory of its text."""

T = TypeVar("T")
_threads = ThreadLimiter("threads for large messages", THREADS)


async def compute(work: Callable[[Message], T], message: Message, *, small_bytes: int = SMALL_BYTES) -> T:
    """Result of `work` on a message: at once up to `small_bytes`, of a larger one in one of `THREADS` threads.

    If cancelled, as at the end of a router's time limit, the thread is abandoned: it keeps its place until it has
    finished, and its result is dropped.
    """
    if message.size <= small_bytes:
        return work(message)
    return await trio.to_thread.run_sync(work, message, abandon_on_cancel=True, limiter=_threads())
