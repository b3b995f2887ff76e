"""``hookbot refused``: which requests a hub refused lately, and why."""

from typing import Any

import click

from ..protocol.paths import REFUSALS
from .display import table, to_json, utc
from .hub_api import Ask, of_a_hub
from .parameters import json_rows

COLUMNS = ("last", "count", "status", "client", "method", "path", "reason")


@click.command()
@of_a_hub
@click.option("--topic", metavar="TOPIC", help="List only those of this topic; with a slash at its end, beneath it.")
@click.option("--provider", metavar="NAME", help="List only those of topics whose source has this provider.")
@click.option("--text", metavar="TEXT", help="List only those with this text in path, reason, address or delivery.")
@click.option("-n", "limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="List so many at most.")
@json_rows
def refused(ask: Ask, topic: str | None, provider: str | None, text: str | None, limit: int, as_json: bool) -> None:
    """List the requests that a hub refused lately, newest first.

    For each: how often the same client was refused for the same reason, and when last. The hub keeps them in memory
    only. The token in the URL must open /hookbot/v1/refusals, or the topics that are to be seen. If the URL has none,
    it is made from the key (HOOKBOT_KEY).

    \b
    Example:
      hookbot refused --url https://TOKEN@hub.example.com --text stripe
    """
    from ..client.http import rows

    asked = {"topic": topic, "provider": provider, "text": text, "limit": str(limit)}
    found = rows(ask("GET", REFUSALS, **{name: value for name, value in asked.items() if value}), "refusals")
    click.echo(to_json(found) if as_json else table(COLUMNS, map(_shown, found)))


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "last": utc(row.get("last"))}
