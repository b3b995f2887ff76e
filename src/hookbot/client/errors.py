"""Errors of a hub, sorted by what a client does about them."""

from ..errors import (
    Forbidden,
    HookbotError,
    Lost,
    NotFound,
    Refused,
    RequestTimeout,
    TooManyRequests,
    Unauthorized,
    Unavailable,
)

PASSING = (Unavailable, TooManyRequests, RequestTimeout)
"""Errors that may be gone at the next attempt; every other one is final."""

HOPELESS = (Unauthorized, Forbidden, NotFound)
"""Refusals that do not depend on the message: every further publish to the same path would get the same answer."""


class OnlyRaw(Refused):
    """The hub speaks only raw frames, as the ancestor does, which cannot do what was asked."""


def retry_after(error: HookbotError) -> float:
    """Seconds that the hub asked to wait; 0 if it did not."""
    return error.retry_after_s if isinstance(error, (Lost, TooManyRequests)) else 0
