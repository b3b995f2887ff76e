"""Permits: what was decided about a request by its target and its token, for the next one that has the same."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Generic, TypeVar

from ..protocol.request import Request
from .quotas import NO_QUOTAS, Quota
from .sources import Source

# About 8 MiB of memory, twice that for subscriptions: room for ten thousand topics that each have a token of their own.
MAX_PERMITS = 16_384
# Longer ones are decided anew each time.
MAX_KEY_BYTES = 1024

Key = tuple[str, bytes, str, str]
"""Method, target, credentials and subprotocols of a request."""
P = TypeVar("P")


@dataclass(slots=True)
class Permit:
    """Permission to publish to a topic. Only `noted` ever changes."""

    topic: str
    source: Source | None
    """Source whose signature is verified; None if the topic has no source."""
    max_body_bytes: int
    query: str
    """The query without tokens, as it is stored."""
    expires_s: float = inf
    """Expiry of the token, in seconds since 1970."""
    has_token: bool = True
    """False if the topic takes no token."""
    quotas: Sequence[Quota] = NO_QUOTAS
    asks_reply: bool = False
    """True if the sender waits for a reply."""
    noted: bool = False
    """True once it is known whether the topic is a near miss."""


class Permits(Generic[P]):
    """Permits by target and credentials of their requests; beyond `MAX_PERMITS`, the oldest is forgotten.

    Only what a valid token permits is kept, and what is published without one to the few `open_targets`, so that
    no unauthenticated client can evict anything. Tokens are compared as in the cache of the `Authorizer`.
    """

    def __init__(self, open_targets: Iterable[bytes] = ()) -> None:
        self._permits: OrderedDict[Key, P] = OrderedDict()
        self._open = {key_of(Request("POST", target, ())) for target in open_targets}
        self.find: Callable[[Key], P | None] = self._permits.get
        """Function for the permit of a key, or None. Whether it has expired is for the caller to check."""

    def add(self, request: Request, permit: P) -> None:
        """Keep the permit of a request, unless anybody may have sent it or its target is very long."""
        key = key_of(request)
        if (request.authenticated or key in self._open) and sum(map(len, key)) <= MAX_KEY_BYTES:
            self._permits[key] = permit
            if len(self._permits) > MAX_PERMITS:
                self._permits.popitem(last=False)


def key_of(request: Request) -> Key:
    """Parts of a request on which a permit depends, beside keys, sources and limits."""
    fields = request.fields
    # A web page puts its token into the subprotocols (`find_tokens`), which also choose the format of a subscription.
    return request.method, request.target, fields.get("authorization", ""), fields.get("sec-websocket-protocol", "")
