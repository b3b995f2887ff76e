"""What a hub answers when it does not do what it was asked, turned back into the error that it raised."""

from ..errors import HookbotError, Lost, Refused, RequestTimeout, TooManyRequests, Unavailable

PASSING = (Unavailable, TooManyRequests, RequestTimeout)
"""What may be gone at the next attempt; every other error is final."""


class OnlyRaw(Refused):
    """The hub speaks only raw frames, as the ancestor does, which cannot do what was asked."""


def retry_after(error: HookbotError) -> float:
    """How many seconds the hub asked to wait; 0 if it did not."""
    return error.retry_after_s if isinstance(error, (Lost, TooManyRequests)) else 0
