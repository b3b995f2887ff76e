"""Subscriptions: every connected subscriber is listed with how far it is behind, and may be ended."""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from math import inf
from typing import Any, Literal, NamedTuple, NotRequired, TypedDict, TypeVar

from ...access.active_subscriptions import ActiveSubscription
from ...broker.backlogs import NOTHING, UNCOUNTED, Backlog, Reader, measure
from ...broker.broker import Broker
from ...broker.time_slices import TimeSlice
from ...errors import Ended, NotFound
from ...protocol.message import format_id, format_time
from ...protocol.paths import LIVE, SUBSCRIPTIONS, path_of, wanted_at
from ...protocol.subscribe import Format
from ...protocol.topics import EVERYTHING, TopicFilter
from ...protocol.websocket import GONE
from ..services import Services
from .operations import PATH_OF_SUBSCRIPTION, Api, Asked, Parameter

MAX_LISTED = 500
_MAX_OFFSET = 10**9

ENDED = Ended(GONE, "an operator has ended this subscription")

T = TypeVar("T")

_PATH = Parameter("path", "Only subscriptions at this path or, if it ends in a slash, beneath it", PATH_OF_SUBSCRIPTION)
_LIMIT = Parameter("limit", "Number at most", {"type": "integer", "minimum": 1, "maximum": MAX_LISTED})
_OFFSET = Parameter(
    "offset", "Number to leave out at the beginning", {"type": "integer", "minimum": 0, "maximum": _MAX_OFFSET}
)
_ID = Parameter("id", "Id of the subscription", required=True)


class TokenOfSubscription(TypedDict):
    """The token that a subscription was opened with, as far as it is no secret."""

    path: str
    names: Sequence[str]


class SubscriptionShown(TypedDict):
    """A connected subscriber. `position` is null if another hub serves it, `behind` also if that was not counted."""

    id: str
    path: str
    format: Format | Literal["live"]
    client: str
    since: str
    token: TokenOfSubscription
    cursor: NotRequired[str]
    group: NotRequired[str]
    position: str | None
    behind: int | None
    behind_more: bool
    behind_s: float | None


class SubscriptionsShown(TypedDict):
    """Connected subscribers, the one that is furthest behind first."""

    subscriptions: list[SubscriptionShown]
    total: int


class Found(NamedTuple):
    """A subscription, and where it was when it was found."""

    subscription: ActiveSubscription
    position: int | None
    """Position up to which it had everything; None if only another hub knows."""
    reader: Reader | None
    """Reader that may be behind that; None if none was, or only another hub knows."""


def add_subscriptions(api: Api, services: Services) -> None:
    """Add the operations on active subscriptions."""
    active, broker = services.access.active, services.broker

    async def list_(asked: Asked) -> Mapping[str, Any]:
        """Of this hub alone, who waits longest first. `position` is what was sent or, of a group, acknowledged."""
        limit = asked.number("limit", MAX_LISTED, most=MAX_LISTED)
        offset = asked.number("offset", 0, least=0, most=_MAX_OFFSET)
        found = await _find(broker, active.all(), _shows(asked))
        found.sort(key=lambda one: one.reader[1] if one.reader else inf)
        page = found[offset : offset + limit]
        backlogs = await measure(broker, [one.reader for one in page if one.reader])
        described = [_describe(services, one, backlogs) async for one in _in_slices(page)]
        return {"subscriptions": described, "total": len(found)}

    async def end(asked: Asked, id: str) -> Mapping[str, Any]:
        """A websocket is closed with 4001, so that its client does not reconnect; a stream just ends."""
        subscription = active.find(id)
        if subscription is None or not _shows(asked)(subscription.request.wanted):
            raise NotFound(f"there is no subscription {id[:80]!r}")
        asked.scope.check_manages(subscription.request.wanted)
        subscription.dismiss(ENDED)
        path, subscriber = path_of(subscription.request.wanted), subscription.client
        asked.audit("a subscription was ended", path=path, subscriber=subscriber)
        return {}

    listing, ending = [_PATH, _LIMIT, _OFFSET], [_ID, _PATH]
    api.add("GET", SUBSCRIPTIONS, list_, "List connected subscribers", parameters=listing, answer=SubscriptionsShown)
    api.add("DELETE", f"{SUBSCRIPTIONS}/<id>", end, "End a subscription", parameters=ending, answer=dict[str, Any])


def _shows(asked: Asked) -> Callable[[TopicFilter], bool]:
    """Function that says if a request is shown the subscriptions to a filter. Raises `Refused` for a wrong path."""
    path = asked.get("path")
    within = wanted_at(path) if path else EVERYTHING
    return lambda wanted: asked.scope.sees_all(wanted) and all(map(within.matches, wanted.patterns))


async def _find(
    broker: Broker, subscriptions: Iterable[ActiveSubscription], shown: Callable[[TopicFilter], bool]
) -> list[Found]:
    """Those of the subscriptions that are shown."""
    found: list[Found] = []
    async for one in _in_slices(subscriptions):
        wanted = one.request.wanted
        if shown(wanted):
            position = one.skip_unwanted()
            reader = None if position is None or position >= broker.head else (wanted, position)
            found.append(Found(one, position, reader))
    return found


async def _in_slices(items: Iterable[T]) -> AsyncIterator[T]:
    """The items; others run after one when the time slice is over, and before the next is taken."""
    time_slice = TimeSlice()
    for item in items:
        yield item
        await time_slice.yield_if_over()


def _describe(services: Services, found: Found, backlogs: Mapping[Reader, Backlog]) -> Mapping[str, Any]:
    one, position, reader = found
    request, grant = one.request, one.grant
    backlog = backlogs[reader] if reader else UNCOUNTED if position is None else NOTHING
    return {
        "id": services.access.active.id_of(one),
        "path": LIVE if request.format == "live" else path_of(request.wanted),
        "format": request.format,
        "client": one.client,
        "since": format_time(one.since_us),
        "token": {"path": grant.path, "names": grant.names},
        **({"cursor": request.cursor} if request.cursor else {}),
        **({"group": request.group} if request.group else {}),
        "position": None if position is None else format_id(services.broker.log.epoch, position),
        **backlog._asdict(),
    }
