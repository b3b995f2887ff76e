"""Alerts: what is wrong now with what the hub watches."""

from collections.abc import Mapping
from typing import Any, TypedDict

from ...alerts.subjects import AlertShown
from ...protocol.paths import ALERTS
from ...protocol.topics import TopicFilter
from ..services import Services
from .operations import Api, Asked


class AlertsShown(TypedDict):
    """The alerts that are firing, the oldest first."""

    alerts: list[AlertShown]


def add_alerts(api: Api, services: Services) -> None:
    """Add the operation that lists alerts."""

    async def list_(asked: Asked) -> Mapping[str, Any]:
        """As their messages on `hookbot/alerts/` have them. Who sees the `topic` of one sees it."""
        told = (await services.alerts.firing()).values()
        seen = [shown for shown in told if asked.scope.sees_all(TopicFilter.parse(shown["topic"]))]
        return {"alerts": sorted(seen, key=lambda shown: shown["since"])}

    api.add("GET", ALERTS, list_, "List the alerts that are firing", answer=AlertsShown)
