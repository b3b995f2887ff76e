"""Bulk: what the requests that publish again or delete many messages have in common."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import trio

from ...access.scope import Scope
from ...broker.broker import Broker
from ...errors import Refused, Unauthorized
from ..services import Services
from .admission import is_valid
from .operations import ID_OF_MESSAGE, Asked, Parameter
from .search import Search, position_of

RANGE = (
    Parameter("from", "Id of the first message; by default, the oldest", ID_OF_MESSAGE),
    Parameter("until", "Id of the last message; by default, the newest of now", ID_OF_MESSAGE),
)
_MAX_REST_S = 0.1

# Not the text of a search, nor what an expression compares: that may be just what nobody must read.
LOGGED = ("topic", "provider", "event", "verdict", "from", "until")


def range_of(broker: Broker, asked: Asked) -> tuple[int, int]:
    """Position after which the messages begin that a request is about, and that of the last, up to now."""
    first, until = asked.get("from"), asked.get("until")
    after = position_of(broker, first) - 1 if first else 0
    return after, min(position_of(broker, until) if until else broker.head, broker.head)


def selection(asked: Asked) -> Mapping[str, str]:
    """Parameters that select the messages of a request, as they are logged."""
    return {name: value for name in LOGGED if (value := asked.get(name))}


def check_compared(search: Search[Any]) -> None:
    """Raise `Refused` if it is not known of some messages whether they match."""
    if search.skipped:
        raise Refused("where takes too long for some of the messages; make the expression simpler")


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
