"""``hookbot update-ranges``: where senders say that they send from."""

import sys
from dataclasses import replace
from pathlib import Path

import click
import trio

from ..access.fetching import fetch_small
from ..access.ip_ranges import KNOWN, MAX_BYTES, RangeList, read_ranges, select_networks, write_ranges
from ..errors import Unavailable
from ..hub.config import RANGES_FILE
from ..protocol.message import format_time, wall_clock_us
from .parameters import data_dir


@click.command("update-ranges")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--url", help="Where NAME is published, if it is not known or elsewhere.")
@click.option("--select", metavar="EXPRESSION", help="The networks in the JSON that is there, as JMESPath.")
@data_dir
def update_ranges(names: tuple[str, ...], url: str | None, select: str | None, data_dir: Path) -> None:
    """Fetch the networks that senders publish, for `allow_from` in a source. A running hub takes them at SIGHUP.

    NAME is github, bitbucket, jira, stripe or pagerduty, or with --url and --select any other. Without a NAME,
    everything that was fetched before is fetched again. What cannot be fetched stays as it was.

    \b
    Examples:
      hookbot update-ranges github stripe
      hookbot update-ranges
      hookbot update-ranges ghes --url https://github.example.com/api/v3/meta --select hooks
    """
    path = data_dir / RANGES_FILE
    ranges = read_ranges(path)
    if (url or select) and len(names) != 1:
        raise click.UsageError("--url and --select are for one NAME")
    if not (names or ranges):
        raise click.UsageError(f"say which: {', '.join(KNOWN)}")
    failed = False
    for name in names or tuple(ranges):
        published = _find_list(name, ranges.get(name), url, select)
        try:
            ranges[name] = trio.run(_fetch, published)
            write_ranges(path, ranges)
            click.echo(f"{name}: {', '.join(ranges[name].networks)}")
        except Unavailable as error:
            failed = True
            click.echo(f"{name}: {error}", err=True)
    if failed:
        sys.exit(1)


def _find_list(name: str, before: RangeList | None, url: str | None, select: str | None) -> RangeList:
    """The list with the place where it is published: as the options say, or as before, or as is known."""
    published = before or KNOWN.get(name) or RangeList("", "")
    published = replace(published, url=url or published.url, select=select or published.select)
    if not published.url or not published.select:
        raise click.UsageError(f"{name!r} is not known: add --url and --select (known: {', '.join(KNOWN)})")
    return published


async def _fetch(published: RangeList) -> RangeList:
    document = await fetch_small(published.url, max_bytes=MAX_BYTES)
    networks = select_networks(document, published.select, published.url)
    return replace(published, networks=networks, updated=format_time(wall_clock_us()))
