"""Errors of a hub, sorted by how a client reacts to them."""

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
"""Errors that may not happen again at the next attempt; every other one is final."""

HOPELESS = (Unauthorized, Forbidden, NotFound)
"""Refusals that do not depend on the message: every further publish to the same path gets the same response."""


class OnlyRaw(Refused):
    """The hub speaks only the ancestor's raw frames, which cannot do what the subscription asks for."""


def retry_after(error: HookbotError) -> float:
    """Seconds that the hub asked the client to wait; 0 if it did not."""
    return error.retry_after_s if isinstance(error, (Lost, TooManyRequests)) else 0
