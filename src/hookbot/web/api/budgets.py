"""Budgets: what the log keeps of the topics of each, and how much it holds."""

from collections.abc import Mapping
from typing import Any, TypedDict

from ...log.contract import Usage
from ...log.retention import Budget
from ...protocol.message import format_time
from ...protocol.paths import BUDGETS
from ..services import Services
from .operations import Api, Asked


class BudgetShown(TypedDict):
    """A budget, and what it holds."""

    prefix: str
    messages: int | None
    bytes: int | None
    oldest: str | None
    keep_s: float | None
    keep_count: int | None
    keep_bytes: int | None


class BudgetsShown(TypedDict):
    """The budgets of the hub."""

    budgets: list[BudgetShown]


def add_budgets(api: Api, services: Services) -> None:
    """Add the operation that lists budgets."""
    broker = services.broker

    async def list_(asked: Asked) -> Mapping[str, Any]:
        """Those with the prefixes `""` and `/unsafe/` are of the topics that have no other one.

        No limit is null. So is what a budget holds while its messages are counted and, in a hub of several that share
        a log, unless that is the one which applies retention.
        """
        used = broker.log.usage()
        budgets = broker.retention.budgets.values()
        return {"budgets": [_to_json(one, used.get(one.prefix)) for one in budgets if asked.scope.sees(one.prefix)]}

    api.add("GET", BUDGETS, list_, "List the budgets of retention", answer=BudgetsShown)


def _to_json(budget: Budget, used: Usage | None) -> BudgetShown:
    return {
        "prefix": budget.prefix,
        "messages": used.messages if used else None,
        "bytes": used.size if used else None,
        "oldest": format_time(used.oldest_us) if used and used.oldest_us else None,
        "keep_s": budget.max_age_s,
        "keep_count": budget.max_count,
        "keep_bytes": budget.max_bytes,
    }
