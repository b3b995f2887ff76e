"""States: how the hub, its routers and other hubs are."""

from collections.abc import Mapping
from typing import Any, TypedDict

from ...broker.hubs import describe_hubs
from ...log.duties import Family
from ...protocol.message import format_id, format_time
from ...protocol.paths import HUBS, ROUTERS, STATS
from ..services import Services
from .operations import Api, Asked


class RouterShown(TypedDict):
    """A router of this hub, and what it has done since the hub was started."""

    name: str
    topics: list[str]
    position: str
    lag: int
    hanging: int
    holder: str
    state: str
    routed: int
    published: int
    retried: int
    failed: int
    gaps: int
    restarts: int
    blocked: int
    abandoned: int
    error: str


class RoutersShown(TypedDict):
    """The routers of this hub."""

    head: str
    routers: list[RouterShown]


class HubShown(TypedDict):
    """A hub of the store, and what it does for all."""

    id: str
    url: str
    version: str
    since: str
    seen_ago_s: float
    position: str
    lag: int
    trims: bool
    routers: list[str]
    cursors: int
    groups: int
    differs: list[str]


class HubsShown(TypedDict):
    """The hubs that share a store with this one."""

    head: str
    hubs: list[HubShown]


class Stats(TypedDict):
    """Counts of what the hub has done since its start, and of subscribers now. `hub` is a new one for each start."""

    hub: str
    time: str
    head: str
    published: int
    published_bytes: int
    duplicates: int
    delivered: int
    refused: int
    subscribers: int
    commits: int
    commit_s: float


def add_states(api: Api, services: Services) -> None:
    """Add the operations that only tell something."""
    log = services.broker.log

    async def routers(asked: Asked) -> Mapping[str, Any]:
        """Only for operators."""
        asked.scope.check_operates()
        return {"head": format_id(log.epoch, services.broker.head), "routers": services.routers()}

    async def hubs(asked: Asked) -> Mapping[str, Any]:
        """Only for operators. A hub that shares no store lists none."""
        asked.scope.check_operates()
        family = Family(log.epoch, services.broker.head, await log.duties.hubs())
        return {"head": format_id(family.epoch, family.head), "hubs": describe_hubs(family)}

    async def stats(asked: Asked) -> Mapping[str, Any]:
        """Only for operators. All but `subscribers` only grows, so that differences are rates.

        Behind a balancer, the hubs of a store each tell their own.
        """
        asked.scope.check_operates()
        counts = services.broker.counts
        return {
            "hub": counts.id,
            "time": format_time(services.broker.clock()),
            "head": format_id(log.epoch, services.broker.head),
            "published": counts.published,
            "published_bytes": counts.published_bytes,
            "duplicates": counts.duplicates,
            "delivered": counts.delivered,
            "refused": counts.refused.total(),
            "subscribers": len(services.access.active),
            "commits": counts.commit_times.count,
            "commit_s": counts.commit_times.sum,
        }

    api.add("GET", STATS, stats, "Count what the hub does", answer=Stats)
    api.add("GET", ROUTERS, routers, "Show the routers", answer=RoutersShown)
    api.add("GET", HUBS, hubs, "Show the hubs of the store", answer=HubsShown)
