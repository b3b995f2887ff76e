"""``hookbot retry``: what has failed is published again to where it failed, by the hub itself."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from ..protocol.paths import MESSAGES, RETRY
from ..standard_files import printing_of
from .filter_options import failure_options
from .hub_api import Ask, of_a_hub
from .progress import RequestProgress, Selected, messages


@click.command()
@click.argument("id", required=False)
@of_a_hub
@failure_options
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
def retry(ask: Ask, id: str | None, selection: Mapping[str, str], yes: bool) -> None:
    """Publish what has failed again, to where it failed.

    Either the message ID, or all that routers have failed at and the options select, the oldest first and at most
    10,000. With --dead-letters, it is what clients have given up. Each message goes back once, however often it is
    retried, until it fails again; `redeliver` publishes any message, each time. The token in the URL must open
    /hookbot/v1/retry and the topics to publish to; if the URL has none, it is made from the key (HOOKBOT_KEY). What
    `forward` has kept in a file is for `retry-file`.

    \b
    Examples:
      hookbot retry --url https://TOKEN@hub.example.com --router jira --from 2h
      hookbot retry --url https://TOKEN@hub.example.com --dead-letters failed/crm
    """
    from ..client.http import id_in

    ask = ask.with_topics
    if id:
        if selection:
            raise click.UsageError("Needs either ID or options that select messages.")
        if Path(id).is_file():
            raise click.UsageError(f"{id} is a file, and no id: `hookbot retry-file` delivers what is in it.")
        published = id_in(ask("POST", f"{MESSAGES}/{id}/retry"))
        with printing_of("the message is retried"):
            click.echo(published)
        return
    selected = Selected.by(ask, RETRY, selection)
    if not selected.number and selected.complete:
        click.echo("nothing has failed there")
        return
    if not yes:
        click.confirm(f"Retry {selected}?", abort=True, err=True)
    _retry_all(ask, {**selection, "until": selected.until})


def _retry_all(ask: Ask, query: Mapping[str, str]) -> None:
    progress = RequestProgress("Retrying")
    progress.of(ask, "POST", RETRY, **query)
    done = _done(progress.last)
    progress.tell(done, "run it again: none is published twice")


def _done(told: Mapping[str, Any]) -> str:
    """Words for what was done."""
    before, gone = told.get("before", 0), told.get("gone", 0)
    words = [f"retried {messages(told['done'] - before - gone)}"]
    if before:
        words.append(f"{messages(before)} retried before")
    if gone:
        words.append(f"{messages(gone)} named by dead letters, but gone")
    return "; ".join(words)
