"""``hookbot redeliver``: stored messages are published again, by the hub itself."""

import sys
from collections.abc import Mapping
from typing import Any

import click

from ..errors import Unavailable
from ..protocol.paths import MESSAGES, REDELIVER
from .filter_options import filter_options
from .hub_api import Ask, of_a_hub


@click.command()
@click.argument("id", required=False)
@of_a_hub
@filter_options
@click.option("--from", "first", metavar="ID", help="First message. Default: the oldest.")
@click.option("--until", "last", metavar="ID", help="Last message. Default: the newest.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
def redeliver(
    ask: Ask, id: str | None, filters: Mapping[str, str], first: str | None, last: str | None, yes: bool
) -> None:
    """Publish stored messages of a hub again.

    Either the message ID, or all that the options select, the oldest first and at most 10,000. They are new messages
    with the same body, headers and verdict. Those that a router has failed at (--topic hookbot/failed/ROUTER) go back
    to the topic where they were. The token in the URL must open /hookbot/v1/redeliver and the topics to publish to; if
    the URL has none, it is made from the key (HOOKBOT_KEY).

    \b
    Examples:
      hookbot redeliver --url https://TOKEN@hub.example.com kqzvtmwx-000000000000042
      hookbot redeliver --url https://TOKEN@hub.example.com --topic deploy/ --from kqzvtmwx-000000000000042
    """
    query = {**filters, **({"from": first} if first else {}), **({"until": last} if last else {})}
    if id:
        if query:
            raise click.UsageError("Needs either ID or options that select messages.")
        click.echo(ask("POST", f"{MESSAGES}/{id}/redeliver")["id"])
        return
    if not query:
        raise click.UsageError("Needs ID, or options that select messages.")
    if not yes:
        counted = ask("POST", REDELIVER, count="only", **query)
        least = "" if counted["complete"] else "at least "
        click.confirm(f"Publish {least}{counted['number']} messages again?", abort=True, err=True)
    _publish_all(ask, query)


def _publish_all(ask: Ask, query: Mapping[str, str]) -> None:
    last: dict[str, Any] = {}
    with click.progressbar(length=0, label="Publishing", file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:

        def take(line: dict[str, Any]) -> None:
            last.update(line)
            bar.length = line.get("of") or max(bar.length or 0, line["done"])
            bar.update(line["done"] - bar.pos)

        ask.lines(take, "POST", REDELIVER, **query)
    done = f"{last.get('done', 0)} messages were published again"
    if last.get("type") != "done":
        raise Unavailable(f"{done}, and then it ended: {last.get('detail', 'the response broke off')}")
    click.echo(done)
    if last.get("next"):
        click.echo(f"There are more: go on with --from {last['next']}", err=True)
