"""``hookbot sources``: what the sources of a hub accept and refuse, and tests of them."""

from typing import Any

import click

from ..protocol.paths import SOURCES
from ..standard_files import printing_of
from .display import table, to_json, utc
from .hub_api import Ask, of_a_hub
from .parameters import json_rows

COLUMNS = (
    "topic",
    "provider",
    "accepted",
    "duplicates",
    "refused",
    "last_accepted",
    "silent_since",
    "last_refused",
    "why",
)


@click.group()
def sources() -> None:
    """List and test the sources of a hub.

    The token in the URL must open /hookbot/v1/sources. If the URL has none, it is made from the key (HOOKBOT_KEY).
    """


@sources.command("list")
@of_a_hub
@json_rows
def list_(ask: Ask, as_json: bool) -> None:
    """List sources, with what came to them since the hub was started.

    WHY is the reason for the last refusal. SILENT_SINCE is empty while a source is heard as often as its expect_every
    says, or has none.

    \b
    Example:
      hookbot sources list --url https://TOKEN@hub.example.com
    """
    from ..client.http import rows

    found = rows(ask("GET", SOURCES), "sources")
    click.echo(to_json(found) if as_json else table(COLUMNS, map(_shown, found)))


@sources.command()
@of_a_hub
@click.argument("topic")
@click.option("--event", metavar="EVENT", help="Event that it tells of. Default: one that says that it is a test.")
def test(ask: Ask, topic: str, event: str | None) -> None:
    """Have the hub send itself a delivery to TOPIC, signed with the secret of the source.

    It is verified and stored like one of the sender. Print its id. `hookbot trigger PROVIDER` lists the events.

    \b
    Example:
      hookbot sources test --url https://TOKEN@hub.example.com /unsafe/stripe/ --event invoice.paid
    """
    send_test(ask, topic, event)


def send_test(ask: Ask, topic: str, event: str | None) -> None:
    """Have the hub send itself a delivery of an event, or a test, and print its id."""
    from ..client.http import id_in

    id = id_in(ask("POST", f"{SOURCES}/test", topic=topic, **({"event": event} if event else {})))
    with printing_of("the test is stored"):
        click.echo(id)


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    times = {name: _time(row.get(name)) for name in ("last_accepted", "last_refused")}
    silent = row.get("silent_since")
    return {**row, **times, "silent_since": silent and utc(silent), "why": row.get("why") or ""}


def _time(value: Any) -> str:
    return utc(value) if value else "never"
