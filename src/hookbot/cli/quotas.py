"""``hookbot quotas``: what is used of the quotas of a hub."""

from typing import Any

import click

from ..protocol.paths import QUOTAS
from .display import size_of, table, to_json
from .hub_api import Ask, of_a_hub
from .parameters import json_rows

COLUMNS = ("prefix", "quota", "limit", "used", "refused")


@click.command()
@of_a_hub
@json_rows
def quotas(ask: Ask, as_json: bool) -> None:
    """List the quotas of a hub, and what is used of them.

    REFUSED is the number of requests that were refused because of one since the hub was started. The token in the URL
    must open /hookbot/v1/quotas, or the topics of the prefix. If the URL has none, it is made from the key
    (HOOKBOT_KEY).

    \b
    Example:
      hookbot quotas --url https://TOKEN@hub.example.com
    """
    from ..client.http import rows

    found = rows(ask("GET", QUOTAS), "quotas")
    click.echo(to_json(found) if as_json else table(COLUMNS, map(_shown, found)))


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    used = row.get("used")
    shown = size_of(used) if row.get("kind") == "bytes" and isinstance(used, int) else used
    prefix = row.get("prefix") or "all topics"
    return {**row, "prefix": prefix, "quota": row.get("kind"), "limit": row.get("written"), "used": shown}
