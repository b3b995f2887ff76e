"""States: how the hub, its routers and other hubs are."""

from collections.abc import Mapping
from typing import Any, TypedDict

from ...broker.hubs import describe_hubs
from ...log.duties import Family
from ...protocol.message import format_id
from ...protocol.paths import HUBS, ROUTERS
from ..services import Services
from .operations import Api, Asked


class Routers(TypedDict):
    """The routers of this hub."""

    head: str
    routers: list[dict[str, Any]]


class Hubs(TypedDict):
    """The hubs that share a store with this one."""

    head: str
    hubs: list[dict[str, Any]]


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

    api.add("GET", ROUTERS, routers, "Show the routers", answer=Routers)
    api.add("GET", HUBS, hubs, "Show the hubs of the store", answer=Hubs)
