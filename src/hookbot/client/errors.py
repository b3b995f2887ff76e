"""Errors of a hub, sorted by how a client reacts to them."""

from ..errors import (
    Forbidden,
    HookbotError,
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
"""Refusals that do not depend on the message: every further publish to the same path gets the same response.

Exception: a 401 may be for a bad signature, which depends on it."""


class OnlyRaw(Refused):
    """The hub speaks only the ancestor's raw frames, which lack a feature that the subscription requires."""


def retry_after(error: HookbotError) -> float:
    """Delay in seconds that the response requests with ``Retry-After``, or 0 if it requests none."""
    return error.retry_after_s if isinstance(error, (Unavailable, TooManyRequests)) else 0
