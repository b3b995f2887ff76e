"""Bulk: what the requests that publish again or delete many messages have in common."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import trio

from ...access.scope import Scope
from ...errors import Refused, Unauthorized
from ...protocol.since import AfterId, SinceTime, parse_since
from ..services import Services
from .admission import is_valid
from .operations import Asked, Parameter
from .search import Search, position_of

_END = {"type": "string", "format": "since"}
RANGE = (
    Parameter("from", "Id of the first message, or a time or how long ago; by default, the oldest", _END),
    Parameter("until", "Id of the last message, or a time or how long ago; by default, the newest of now", _END),
)
_MAX_REST_S = 0.1

# Not the text of a search, nor what an expression compares: that may be just what nobody must read.
LOGGED = ("topic", "router", "dead-letters", "provider", "event", "verdict", "from", "until")


async def range_of(services: Services, asked: Asked) -> tuple[int, int]:
    """Position after which the messages begin that a request is about, and that of the last, up to now."""
    head = services.broker.head
    after = await _end(services, asked, "from", within=False) if asked.get("from") else 0
    last = await _end(services, asked, "until", within=True) if asked.get("until") else head
    return after, min(last, head)


def selection(asked: Asked) -> Mapping[str, str]:
    """Parameters that select the messages of a request, as they are logged."""
    return {name: value for name in LOGGED if (value := asked.get(name))}


def check_compared(search: Search[Any]) -> None:
    """Raise `Refused` if it is not known of some messages whether they match."""
    if search.skipped:
        raise Refused("where takes too long for some of the messages; make the expression simpler")


async def _end(services: Services, asked: Asked, name: str, *, within: bool) -> int:
    """Position before a time or the message with an id or, if that is `within`, the one of the message."""
    text = asked.need(name)
    match parse_since(text, now_us=int(services.access.now_s * 1e6), name=name):
        case AfterId():
            return position_of(services.broker, text) - (not within)
        case SinceTime(time_us):
            return await services.broker.log.position_before(time_us)
    return 0


@asynccontextmanager
async def step_of(services: Services, scope: Scope) -> AsyncIterator[None]:
    """Context of a commit for a request that was admitted before, with a rest, so that others hardly notice it.

    Raises `Unauthorized` if its token is no longer valid.
    """
    if not is_valid(services.access, scope):
        raise Unauthorized.because("the token is no longer valid")
    begun_at = trio.current_time()
    yield
    await trio.sleep(min(trio.current_time() - begun_at, _MAX_REST_S))
