"""``hookbot cursors``: the cursors and groups that a hub remembers."""

from typing import Any

import click

from ..protocol.paths import CURSORS
from ..standard_files import printing_of
from .display import age_of, table, to_json, utc
from .hub_api import Ask, of_a_hub
from .parameters import json_rows, with_options

_of_one = with_options(
    click.argument("path"),
    click.argument("name"),
    click.option("--group", "kind", flag_value="group", default="cursor", help="NAME is a group, not a cursor."),
)
COLUMNS = ("kind", "path", "name", "behind", "lag", "connected", "used", "position")


@click.group()
def cursors() -> None:
    """List, move and delete the cursors and groups of a hub.

    The token in the URL must open /hookbot/v1/cursors. If the URL has none, it is made from the key (HOOKBOT_KEY).
    """


@cursors.command("list")
@of_a_hub
@click.option("--path", metavar="PATH", help="List only those of this subscription, such as /sub/deploy.")
@json_rows
def list_(ask: Ask, path: str | None, as_json: bool) -> None:
    """List cursors and groups, with their positions.

    BEHIND is the number of its messages after the position, and the age of the oldest. LAG is the number of messages,
    of any topic, that were stored after the position.

    \b
    Example:
      hookbot cursors list --url https://TOKEN@hub.example.com
    """
    from ..client.http import rows

    found = rows(ask("GET", CURSORS, **({"path": path} if path else {})), "cursors")
    click.echo(to_json(found) if as_json else table(COLUMNS, map(_shown, found)))


@cursors.command()
@of_a_hub
@_of_one
@click.option("--since", metavar="WHEN", help="New position: an id, 90s, 10m, 2h, 7d, a time, all, or now.")
@click.option("--from", "first", metavar="ID", help="Message that it gets again, with all that follow.")
def move(ask: Ask, path: str, name: str, kind: str, since: str | None, first: str | None) -> None:
    """Move the cursor NAME of the subscription PATH: after what --since says, or before a message of it, --from.

    A connected client is disconnected, and resumes from the new position.

    \b
    Example:
      hookbot cursors move --url https://TOKEN@hub.example.com --since 2h /sub/deploy laptop
    """
    from ..client.http import rows

    where = {name: value for name, value in (("since", since), ("from", first)) if value is not None}
    if len(where) != 1:
        raise click.UsageError("Needs either --since or --from.")
    moved = {"cursors": [ask("POST", CURSORS, kind=kind, path=path, name=name, **where)]}
    with printing_of("the cursor is moved"):
        click.echo(table(COLUMNS, map(_shown, rows(moved, "cursors"))))


@cursors.command()
@of_a_hub
@_of_one
def delete(ask: Ask, path: str, name: str, kind: str) -> None:
    """Delete the cursor NAME of the subscription PATH.

    A connected client is disconnected for good.

    \b
    Example:
      hookbot cursors delete --url https://TOKEN@hub.example.com /sub/deploy laptop
    """
    ask("DELETE", CURSORS, kind=kind, path=path, name=name)


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    connected = "yes" if row.get("connected") else "no"
    return {**row, "behind": behind_of(row), "connected": connected, "used": utc(row.get("used"))}


def behind_of(row: dict[str, Any]) -> str:
    """Text of how far a cursor or a group is behind: messages of its own, and the age of the oldest."""
    number, age_s = row.get("behind"), row.get("behind_s")
    if number is None:
        return "?"
    more = "+" if row.get("behind_more") else ""
    age = f" ({age_of(age_s)})" if isinstance(age_s, float) and age_s else ""
    return f"{number}{more}{age}"
