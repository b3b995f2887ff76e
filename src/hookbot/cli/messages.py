"""``hookbot messages`` and ``message``: what a hub has stored."""

from collections.abc import Mapping
from typing import Any

import click

from ..errors import Lost
from ..protocol.paths import MESSAGES
from .display import size_of, table, to_json, utc
from .filter_options import filter_options
from .hub_api import Ask, of_a_hub
from .listen import JSON, RAW, Form, printing
from .parameters import json_rows

COLUMNS = ("time", "topic", "event", "size", "verdict", "id")
_PAGE = 200


@click.command()
@of_a_hub
@filter_options
@click.option("--before", metavar="ID", help="Only messages before this one.")
@click.option(
    "-n", "--limit", type=click.IntRange(1), default=20, show_default=True, metavar="N", help="At most so many."
)
@json_rows
def messages(ask: Ask, filters: Mapping[str, str], before: str | None, limit: int, as_json: bool) -> None:
    """List the stored messages of a hub, newest first.

    The token in the URL must open /hookbot/v1/messages, or is one for /sub/ paths, which shows what it opens. If the
    URL has none, it is made from the key (HOOKBOT_KEY).

    \b
    Example:
      hookbot messages --topic github.com/ --event push --where "body.ref == 'refs/heads/main'" --url https://TOKEN@h
    """
    from ..client.http import rows

    found: list[dict[str, Any]] = []
    while True:
        further = {"before": before} if before else {}
        answer = ask("GET", MESSAGES, limit=str(min(limit - len(found), _PAGE)), **filters, **further)
        found += rows(answer, "messages")
        before = answer.get("before")
        if before is None or len(found) >= limit:
            break
    click.echo(to_json(found) if as_json else table(COLUMNS, map(_shown, found)))


@click.command()
@click.argument("id")
@of_a_hub
@RAW
@JSON
def message(ask: Ask, id: str, form: Form | None) -> None:
    """Show the stored message ID of a hub, with its headers.

    \b
    Example:
      hookbot message --url https://TOKEN@hub.example.com kqzvtmwx-000000000000042
    """
    from ..protocol.envelope import from_envelope

    try:
        found = from_envelope(ask("GET", f"{MESSAGES}/{id}"))
    except ValueError as error:
        raise Lost(f"the response is not that of a hub: {error}") from None
    click.echo(printing(form, [name for name, _ in found.headers])(found), nl=False)


def _shown(summary: Mapping[str, Any]) -> Mapping[str, Any]:
    verdict = f"{summary.get('verdict')} {summary.get('provider') or ''}".strip()
    event = summary.get("event") or ""
    time, size = utc(summary.get("time")), size_of(summary.get("size") or 0)
    return {**summary, "time": time, "event": event, "size": size, "verdict": verdict}
