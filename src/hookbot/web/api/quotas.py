"""Quotas: what is used of each, and how often it was the reason of a refusal."""

from collections.abc import Mapping
from typing import Any, TypedDict

from ...access.quotas import QuotaKind
from ...protocol.paths import QUOTAS
from ..figures import quota_uses
from ..services import Services
from .operations import Api, Asked


class QuotaShown(TypedDict):
    """One limit of the quota of a prefix, and what is used of it now."""

    prefix: str
    kind: QuotaKind
    limit: int
    period_s: float | None
    written: str
    used: int
    refused: int


class QuotasShown(TypedDict):
    """The quotas of the hub."""

    quotas: list[QuotaShown]


def add_quotas(api: Api, services: Services) -> None:
    """Add the operation that lists quotas."""

    async def list_(asked: Asked) -> Mapping[str, Any]:
        """So many publishes and bytes are allowed in `period_s` seconds, of the others at a time.

        `written` is the limit as it is configured. `refused` counts since the hub was started, or the limit changed.
        """
        uses = await quota_uses(services.broker, services.access, services.consumers)
        seen = [use for use in uses if asked.scope.sees(use.prefix)]
        return {
            "quotas": [
                {
                    "prefix": use.prefix,
                    "kind": use.kind,
                    "limit": use.limit,
                    "period_s": use.period_s,
                    "written": use.written,
                    "used": round(use.used),
                    "refused": use.refused,
                }
                for use in seen
            ]
        }

    api.add("GET", QUOTAS, list_, "List the quotas", answer=QuotasShown)
