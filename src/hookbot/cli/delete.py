"""``hookbot delete``: stored messages are deleted, with what was made of them."""

from collections.abc import Mapping
from typing import Any

import click

from ..errors import Lost
from ..protocol.paths import MESSAGES
from ..terminal import one_line
from .filter_options import selection_options
from .hub_api import Ask, of_a_hub
from .progress import RequestProgress, messages

_LAST = {"found", "copies", "left", "topics", "until"}


@click.command()
@click.argument("id", required=False)
@of_a_hub
@selection_options
@click.option("--only-this", is_flag=True, help="Leave the copies.")
@click.option("--dry-run", is_flag=True, help="Only say what would be deleted.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
def delete(
    ask: Ask,
    id: str | None,
    selection: Mapping[str, str],
    only_this: bool,
    dry_run: bool,
    yes: bool,
) -> None:
    """Delete stored messages of a hub, with their copies.

    Either the message ID, or all of --topic that the options select. Copies are what routers made of a message, what
    was published again, and its duplicates, on whatever topics. Listeners are told of no gap. The token in the URL must
    open /hookbot/v1/messages; if the URL has none, it is made from the key (HOOKBOT_KEY).

    \b
    Examples:
      hookbot delete --url https://TOKEN@hub.example.com kqzvtmwx-000000000000042
      hookbot delete --url https://TOKEN@hub.example.com --topic deploy/ --text s3cret --dry-run
    """
    if bool(id) == bool(selection) or not (id or "topic" in selection):
        raise click.UsageError("Needs either ID, or --topic and other options that select messages.")
    path = f"{MESSAGES}/{id}" if id else MESSAGES
    query = {**selection, **({"only-this": "true"} if only_this else {})}
    if dry_run or not yes:
        counted = _run(ask, "Counting", path, {**query, "count": "only"})
        what = _what(counted, counted["found"])
        if dry_run:
            click.echo(f"would delete {what}")
            return
        click.confirm(f"Delete {what}?", abort=True, err=True)
        # What has come meanwhile was not agreed to.
        query |= {} if id else {"until": counted["until"]}
    deleted = _run(ask, "Deleting", path, query)
    click.echo(f"deleted {_what(deleted, deleted['done'])}")
    if "detail" in deleted:
        click.echo(one_line(deleted["detail"]), err=True)


def _run(ask: Ask, label: str, path: str, query: Mapping[str, str]) -> Mapping[str, Any]:
    """The last line of a deletion, which is shown meanwhile."""
    progress = RequestProgress(label)
    progress.of(ask, "DELETE", path, **query)
    progress.check_done(f"deleted {messages(progress.last['done'])}", "the same command deletes the rest")
    if not progress.last.keys() >= _LAST:
        raise Lost("the response is not that of a hub: its last line lacks fields")
    return progress.last


def _what(line: Mapping[str, Any], number: int) -> str:
    """Text of how many messages a line is about, and where copies of them stay."""
    copies = f", copies included: {line['copies']:,}" if line["copies"] else ""
    topics = one_line(", ".join(line["topics"]))
    left = f"; copies that stay: {line['left']:,}{topics and f', on {topics}'}" if line["left"] else ""
    return f"{messages(number)}{copies}{left}"
