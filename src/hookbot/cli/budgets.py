"""``hookbot budgets``: how much a hub keeps of which topics, and how full that is."""

from typing import Any

import click

from ..protocol.paths import BUDGETS
from .display import table, to_json, utc
from .hub_api import Ask, of_a_hub
from .parameters import json_rows

COLUMNS = ("prefix", "messages", "bytes", "oldest", "keep_s", "keep_count", "keep_bytes")


@click.command()
@of_a_hub
@json_rows
def budgets(ask: Ask, as_json: bool) -> None:
    """List how much a hub keeps of which topics, and how full that is.

    For each budget: its messages, their bytes, the time of the oldest, and the limits. The first two are of the safe
    and of the unsafe topics that have no section of retention. The token in the URL must open /hookbot/v1/budgets, or
    the topics that are to be seen. If the URL has none, it is made from the key (HOOKBOT_KEY).

    \b
    Example:
      hookbot budgets --url https://TOKEN@hub.example.com
    """
    from ..client.http import rows

    found = rows(ask("GET", BUDGETS), "budgets")
    click.echo(to_json(found) if as_json else table(COLUMNS, map(_shown, found)))


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "prefix": row.get("prefix") or "(all)", "oldest": utc(row["oldest"]) if row.get("oldest") else None}
