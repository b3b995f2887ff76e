"""What is done with a message: one attempt, which works or fails."""

from collections.abc import Awaitable, Callable
from hashlib import sha256

from ..protocol.message import Message


class Failed(Exception):
    """An attempt came to nothing, and why. `retry_after_s` is what the other side asked for."""

    def __init__(self, why: str, *, retry_after_s: float = 0) -> None:
        super().__init__(why)
        self.retry_after_s = retry_after_s


Work = Callable[[Message, int], Awaitable[str]]
"""An attempt at a message, counting from 1: returns how it went in a few words, or raises `Failed`.

When it is cancelled, nothing of it may go on."""


def hop_name(kind: str, *of: str) -> str:
    """The name under which work adds itself to the hops of a message, so that it knows what comes back to it."""
    return f"{kind}-{sha256(chr(0).join(of).encode('utf-8', 'surrogateescape')).hexdigest()[:8]}"
