"""``hookbot who``: the subscribers that are connected to a hub."""

from typing import Any

import click

from ..protocol.paths import SUBSCRIPTIONS
from .cursors import behind_of
from .display import table, to_json, utc
from .hub_api import Ask, of_a_hub
from .parameters import json_rows

COLUMNS = ("path", "format", "client", "since", "token", "behind", "id")


@click.command()
@of_a_hub
@click.option("--path", metavar="PATH", help="Only those at this path or, if it ends in a slash, beneath it.")
@click.option("--end", "id", metavar="ID", help="End the subscription with this ID, in place of listing them.")
@json_rows
def who(ask: Ask, path: str | None, id: str | None, as_json: bool) -> None:
    """List the subscribers that are connected to a hub, or end one.

    Those that wait longest come first. BEHIND is the number of messages that wait, and the age of the oldest.

    The token in the URL must open /hookbot/v1/subscriptions, or what is subscribed to; if the URL has none, it is made
    from the key (HOOKBOT_KEY). A websocket that is ended is told not to reconnect.

    \b
    Examples:
      hookbot who --url https://TOKEN@hub.example.com --path /sub/acme/
      hookbot who --url https://TOKEN@hub.example.com --end 3f2a91-42
    """
    query = {"path": path} if path else {}
    if id is not None:
        ask("DELETE", f"{SUBSCRIPTIONS}/{id}", **query)
        return
    found = _all(ask, query)
    click.echo(to_json(found) if as_json else table(COLUMNS, map(_shown, found)))


def _all(ask: Ask, query: dict[str, str]) -> list[dict[str, Any]]:
    """Subscribers of all pages; those that come and go meanwhile may be missing or be there twice."""
    from ..client.http import rows

    found: list[dict[str, Any]] = []
    while True:
        answer = ask("GET", SUBSCRIPTIONS, **query, offset=str(len(found)))
        page = rows(answer, "subscriptions")
        found += page
        total = answer.get("total")
        if not page or not isinstance(total, int) or len(found) >= total:
            return found


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    token = row["token"] if isinstance(row.get("token"), dict) else {}
    name = next((f" ({kind} {row[kind]})" for kind in ("cursor", "group") if kind in row), "")
    return {
        **row,
        "path": f"{row.get('path')}{name}",
        "since": utc(row.get("since")),
        "token": token.get("names") or token.get("path"),
        "behind": behind_of(row),
    }
