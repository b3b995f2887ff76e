"""``hookbot update-ranges``: lists of the networks that senders publish as theirs."""

import sys
from dataclasses import replace
from pathlib import Path

import click

from ..access.ip_ranges import KNOWN, MAX_BYTES, RangeList, read_ranges, select_networks, write_ranges
from ..errors import Unavailable
from ..hub.config import RANGES_FILE
from ..hub.data_dir import make_data_dir
from ..protocol.message import format_time, wall_clock_us
from ..protocol.urls import split_url
from .parameters import completed, data_dir


@click.command("update-ranges")
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=completed(lambda: KNOWN))
@click.option("--url", metavar="URL", help="URL of the list NAME; required unless NAME is known.")
@click.option("--select", metavar="EXPRESSION", help="JMESPath expression for the networks in its JSON.")
@data_dir
def update_ranges(names: tuple[str, ...], url: str | None, select: str | None, data_dir: Path) -> None:
    """Fetch the IP networks that senders publish as theirs.

    A source accepts them by name in `allow_from`; a running hub reads them again at SIGHUP. NAME is github, bitbucket,
    jira, stripe, pagerduty or, with --url and --select, any other. Without NAME, all lists fetched before are fetched
    again. A list that cannot be fetched stays as it was.

    \b
    Examples:
      hookbot update-ranges github stripe
      hookbot update-ranges
      hookbot update-ranges ghes --url https://github.example.com/api/v3/meta --select hooks
    """
    import trio

    path = make_data_dir(data_dir) / RANGES_FILE
    ranges = read_ranges(path)
    if (url or select) and len(names) != 1:
        raise click.UsageError("--url and --select need exactly one NAME.")
    if not (names or ranges):
        raise click.UsageError(f"Give a NAME: {', '.join(KNOWN)}.")
    failed = False
    for name in names or tuple(ranges):
        published = _find_list(name, ranges.get(name), url, select)
        try:
            ranges[name] = trio.run(_fetch, published)
            # Written after each list, since the command may end at the next one.
            write_ranges(path, ranges)
            click.echo(f"{name}: {', '.join(ranges[name].networks)}")
        except Unavailable as error:
            failed = True
            click.echo(f"{name}: {error}", err=True)
    if failed:
        sys.exit(1)


def _find_list(name: str, before: RangeList | None, url: str | None, select: str | None) -> RangeList:
    """The list `name`, with URL and expression from the options, else from the last fetch, else from `KNOWN`.

    Raises `UsageError` if either is missing, and `Refused` for a malformed URL.
    """
    published = before or KNOWN.get(name) or RangeList("", "")
    url = split_url(url).geturl() if url else published.url
    published = replace(published, url=url, select=select or published.select)
    if not published.url or not published.select:
        raise click.UsageError(f"unknown list {name!r}: choose one of {', '.join(KNOWN)}, or add --url and --select.")
    return published


async def _fetch(published: RangeList) -> RangeList:
    from ..access.fetching import fetch_small

    document = await fetch_small(published.url, max_bytes=MAX_BYTES)
    networks = select_networks(document, published.select, published.url)
    return replace(published, networks=networks, updated=format_time(wall_clock_us()))
