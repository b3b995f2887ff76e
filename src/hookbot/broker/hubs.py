"""The hubs of a family, as operators see them."""

from collections.abc import Sequence
from typing import Any

from ..log.duties import OF_ROUTER, TRIM, Family, HubInfo, differing
from ..log.held_duties import TERM_S
from ..protocol.message import format_id, format_time


def alive(hubs: Sequence[HubInfo]) -> Sequence[HubInfo]:
    """The hubs that were heard of lately."""
    return [hub for hub in hubs if hub.seen_ago_s < TERM_S]


def describe_hubs(family: Family) -> list[dict[str, Any]]:
    """The hubs for JSON. What differs in a configuration is compared with the oldest hub that is alive."""
    standard = alive(family.hubs) or family.hubs
    return [_describe(hub, family, differing(standard[0].configuration, hub.configuration)) for hub in family.hubs]


def _describe(hub: HubInfo, family: Family, differs: Sequence[str]) -> dict[str, Any]:
    # Of a cursor or a group, it begins with its kind.
    kinds = [name.partition(" ")[0] for name in hub.duties]
    return {
        "id": hub.id,
        "url": hub.url,
        "version": hub.version,
        "since": format_time(hub.started_us),
        "seen_ago_s": round(hub.seen_ago_s, 1),
        "position": format_id(family.epoch, hub.told),
        "lag": max(0, family.head - hub.told),
        "trims": TRIM in hub.duties,
        "routers": [name.removeprefix(OF_ROUTER) for name in hub.duties if name.startswith(OF_ROUTER)],
        "cursors": kinds.count("cursor"),
        "groups": kinds.count("group"),
        "differs": list(differs),
    }
