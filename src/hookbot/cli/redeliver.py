"""``hookbot redeliver``: stored messages are published again, by the hub itself."""

import uuid
from collections.abc import Mapping

import click

from ..protocol.paths import MESSAGES, REDELIVER
from ..standard_files import printing_of
from .filter_options import selection_options
from .hub_api import Ask, of_a_hub
from .progress import RequestProgress, Selected, messages


@click.command()
@click.argument("id", required=False)
@of_a_hub
@selection_options
@click.option("--key", metavar="TEXT", help="Idempotency-Key: under one key, a message is published again only once.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
def redeliver(
    ask: Ask,
    id: str | None,
    selection: Mapping[str, str],
    key: str | None,
    yes: bool,
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
    from ..client.http import id_in

    ask = ask.with_topics
    if id:
        if selection or key:
            raise click.UsageError("Needs either ID or options that select messages.")
        published = id_in(ask("POST", f"{MESSAGES}/{id}/redeliver"))
        with printing_of("the message is published"):
            click.echo(published)
        return
    if not selection:
        raise click.UsageError("Needs ID, or options that select messages.")
    selected = Selected.by(ask, REDELIVER, selection)
    if not yes:
        click.confirm(f"Publish {selected} again?", abort=True, err=True)
    # Also if it is repeated, what it has published itself is not among them.
    _publish_all(ask, {**selection, "until": selected.until}, key or uuid.uuid4().hex)


def _publish_all(ask: Ask, query: Mapping[str, str], key: str) -> None:
    progress = RequestProgress("Publishing")
    progress.of(ask, "POST", REDELIVER, key, **query)
    done = f"published {messages(progress.last['done'])} again"
    again = f"--until {query['until']} --key {key}"
    progress.tell(done, f"with {again}, none of them is published twice")
