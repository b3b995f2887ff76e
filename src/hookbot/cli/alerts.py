"""``hookbot alerts``: what is wrong now with what a hub watches."""

import click

from ..protocol.paths import ALERTS
from .display import table, to_json, utc
from .hub_api import Ask, of_a_hub
from .parameters import json_rows

COLUMNS = ("since", "kind", "name", "sentence")


@click.command()
@of_a_hub
@json_rows
def alerts(ask: Ask, as_json: bool) -> None:
    """List what is wrong with the sources and listeners that a hub watches.

    The oldest comes first. A hub watches the sources that have expect_every in its configuration, and what [[alerts]]
    there names. The token in the URL must open /hookbot/v1/alerts, or the topics that they are about. If the URL has
    none, it is made from the key (HOOKBOT_KEY).

    \b
    Example:
      hookbot alerts --url https://TOKEN@hub.example.com
    """
    from ..client.http import rows

    found = rows(ask("GET", ALERTS), "alerts")
    shown = ({**row, "since": utc(row.get("since"))} for row in found)
    click.echo(to_json(found) if as_json else table(COLUMNS, shown))
