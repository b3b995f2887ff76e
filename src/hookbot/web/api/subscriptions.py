"""Subscriptions: every connected subscriber is listed with how far it is behind, and may be ended."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from math import inf
from typing import Any, NamedTuple, NotRequired, TypedDict

import trio

from ...access.active_subscriptions import ActiveSubscription
from ...access.scope import EVERYTHING
from ...errors import Ended, NotFound
from ...log.contract import Behind, Log
from ...protocol.message import format_id, format_time
from ...protocol.paths import SUBSCRIPTIONS, path_of, wanted_at
from ...protocol.subscribe import Format
from ...protocol.topics import TopicFilter
from ...protocol.websocket import GONE
from ..services import Services
from .operations import Api, Asked, Parameter

MAX_LISTED = 500

# To look at so many takes less than a millisecond.
STEP = 100

# A count takes some milliseconds of a thread that reads for others, too.
MAX_COUNTS = 50
COUNTED = 10_000

ENDED = Ended(GONE, "an operator has ended this subscription")

_PATH = Parameter("path", "Only subscriptions at this path or, if it ends in a slash, beneath it")
_LIMIT = Parameter("limit", "Number at most", {"type": "integer", "minimum": 1, "maximum": MAX_LISTED})
_OFFSET = Parameter("offset", "Number to leave out at the beginning", {"type": "integer", "minimum": 0})
_ID = Parameter("id", "Id of the subscription", required=True)


class TokenOfSubscription(TypedDict):
    """The token that a subscription was opened with, as far as it is no secret."""

    path: str
    names: Sequence[str]


class Subscription(TypedDict):
    """A connected subscriber.

    One that another hub serves has no `position`; nor has one `behind` if too many others are further behind.
    """

    id: str
    path: str
    format: Format
    client: str
    since: str
    token: TokenOfSubscription
    cursor: NotRequired[str]
    group: NotRequired[str]
    position: NotRequired[str]
    behind: NotRequired[int]
    behind_more: NotRequired[bool]
    behind_s: NotRequired[float]


class Subscriptions(TypedDict):
    """Connected subscribers, the one that is furthest behind first."""

    subscriptions: list[Subscription]
    total: int


class Found(NamedTuple):
    """A subscription, where it was when it was found, or None if only another hub knows, and if more followed."""

    subscription: ActiveSubscription
    position: int | None
    is_behind: bool


Counted = Mapping[tuple[TopicFilter, int | None], Behind]
"""What is behind a filter and a position."""


def add_subscriptions(api: Api, services: Services) -> None:
    """Add the operations on active subscriptions."""
    active = services.access.active

    async def list_(asked: Asked) -> Mapping[str, Any]:
        """Of this hub alone, who waits longest first. `position` is what was sent or, of a group, acknowledged."""
        limit = asked.number("limit", MAX_LISTED, most=MAX_LISTED)
        offset = asked.number("offset", 0, least=0, most=10**9)
        found = await _find(services, active.all(), _shows(asked))
        found.sort(key=lambda one: one.position if one.is_behind and one.position is not None else inf)
        page = found[offset : offset + limit]
        counted = await _count(services.broker.log, page)
        return {"subscriptions": [_describe(services, one, counted) for one in page], "total": len(found)}

    async def end(asked: Asked, id: str) -> Mapping[str, Any]:
        """A websocket is closed with 4001, so that its client does not reconnect; a stream just ends."""
        subscription = active.find(id)
        if subscription is None or not _shows(asked)(subscription.request.wanted):
            raise NotFound(f"there is no subscription {id[:80]!r}")
        asked.scope.check_manages(path_of(subscription.request.wanted))
        subscription.dismiss(ENDED)
        return {}

    listing, ending = [_PATH, _LIMIT, _OFFSET], [_ID, _PATH]
    api.add("GET", SUBSCRIPTIONS, list_, "List connected subscribers", parameters=listing, answer=Subscriptions)
    api.add("DELETE", f"{SUBSCRIPTIONS}/<id>", end, "End a subscription", parameters=ending, answer=dict[str, Any])


def _shows(asked: Asked) -> Callable[[TopicFilter], bool]:
    """Function that says if a request is shown the subscriptions to a filter. Raises `Refused` for a wrong path."""
    path = asked.get("path")
    within = wanted_at(path) if path else EVERYTHING
    return lambda wanted: asked.scope.sees_all(wanted) and all(map(within.matches, wanted.patterns))


async def _find(
    services: Services, subscriptions: Iterable[ActiveSubscription], shown: Callable[[TopicFilter], bool]
) -> list[Found]:
    """Those of the subscriptions that are shown."""
    found = []
    for number, one in enumerate(subscriptions, 1):
        if shown(one.request.wanted):
            position = one.skip_unwanted()
            found.append(Found(one, position, position is not None and position < services.broker.head))
        if number % STEP == 0:
            await trio.lowlevel.checkpoint()
    return found


async def _count(log: Log, page: Iterable[Found]) -> Counted:
    """What is behind the first `MAX_COUNTS` filters and positions on a page. Raises `Unavailable`."""
    places = dict.fromkeys((one.subscription.request.wanted, one.position or 0) for one in page if one.is_behind)
    return {
        (wanted, position): await log.behind(wanted, after=position, limit=COUNTED)
        for wanted, position in islice(places, MAX_COUNTS)
    }


def _describe(services: Services, found: Found, counted: Counted) -> Mapping[str, Any]:
    one, position, is_behind = found
    request, grant = one.request, one.grant
    described: dict[str, Any] = {
        "id": services.access.active.id_of(one),
        "path": path_of(request.wanted),
        "format": request.format,
        "client": one.client,
        "since": format_time(one.since_us),
        "token": {"path": grant.path, "names": grant.names},
    }
    described |= {name: value for name, value in (("cursor", request.cursor), ("group", request.group)) if value}
    if position is not None:
        described["position"] = format_id(services.broker.log.epoch, position)
        behind = counted.get((request.wanted, position)) if is_behind else Behind()
        if behind:
            age_s = services.access.now_s - behind.oldest_us / 1e6 if behind.oldest_us else 0
            described |= {"behind": behind.number, "behind_more": behind.more, "behind_s": max(0, age_s)}
    return described
