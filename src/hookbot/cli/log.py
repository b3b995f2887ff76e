"""``hookbot log``: the log of a hub as a whole."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import ConfigError
from ..log.postgres_address import PostgresAddress
from ..protocol.message import format_time
from .display import table, to_json, utc
from .log_lines import log_to_stderr
from .parameters import DATA_DIRECTORY, Parsed, json_rows

if TYPE_CHECKING:
    from ..log.copying import Copied, CopySource, CopyTarget, Note
    from ..log.key_uses import KeyUse

Place = PostgresAddress | Path
KEY_COLUMNS = ("key", "messages", "oldest", "newest")


def parse_place(text: str) -> Place:
    """The place of a log: a data directory, or a database. Raises `ConfigError`, which never shows a password."""
    kind, _, rest = text.partition(":")
    if kind in ("postgresql", "postgres"):
        return PostgresAddress.parse(text)
    if kind != "sqlite" or not rest:
        raise ConfigError("a log is sqlite:DIRECTORY, with the data directory of a hub, or postgresql://HOST/DATABASE")
    directory: Path = DATA_DIRECTORY.convert(rest, None, None)
    return directory


PLACE = Parsed("place", parse_place)


@click.group()
def log() -> None:
    """Copy the log of a hub to another place, and show how it is encrypted."""


@log.command()
@click.argument("source", metavar="FROM", type=PLACE)
@click.argument("target", metavar="TO", type=PLACE)
def copy(source: Place, target: Place) -> None:
    """Copy the log at FROM to TO, where there is none yet.

    Both are sqlite:DIRECTORY, with the data directory of a hub, or postgresql://HOST/DATABASE. Stop the hubs of FROM
    before, and start one at TO after: its listeners resume with the ids and the cursors that they have. FROM stays as
    it is. If the copy is interrupted, the same command goes on from there.

    \b
    Example:
      hookbot log copy sqlite:/var/lib/hookbot postgresql://hookbot@db.example.com/hookbot
    """
    import trio

    if source == target:
        raise click.UsageError("FROM and TO are the same log.")
    log_to_stderr(quiet=True)
    began = time.monotonic()
    copied = trio.run(_copy, source, target)
    click.echo(summary(copied, time.monotonic() - began))


@log.command()
@click.argument("place", metavar="PLACE", type=PLACE)
@json_rows
def keys(place: Place, as_json: bool) -> None:
    """Show with which keys at rest the messages at PLACE are encrypted.

    PLACE is sqlite:DIRECTORY, with the data directory of a hub, or postgresql://HOST/DATABASE. Hubs may run. No key is
    needed: an id tells which key it is. One that no message has is of no use any more, unless it is the first one.

    \b
    Example:
      hookbot log keys sqlite:/var/lib/hookbot
    """
    import trio

    from ..log.key_uses import key_uses

    found = [_row(use) for use in trio.run(key_uses, place)]
    click.echo(to_json(found) if as_json else table(KEY_COLUMNS, map(_shown, found)))


def _row(use: KeyUse) -> dict[str, Any]:
    oldest, newest = format_time(use.oldest_us), format_time(use.newest_us)
    return {"key": use.key, "messages": use.messages, "oldest": oldest, "newest": newest}


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "key": row["key"] or "not encrypted", "oldest": utc(row["oldest"]), "newest": utc(row["newest"])}


async def _copy(source: Place, target: Place) -> Copied:
    from ..log.copying import copy_log

    async with open_source(source) as old, open_target(target) as new:
        with _progress(shown=sys.stderr.isatty()) as note:
            return await copy_log(old, new, note)


def open_source(place: Place) -> AbstractAsyncContextManager[CopySource]:
    """The log at a place, to be copied from there."""
    if isinstance(place, PostgresAddress):
        from ..log.postgres_copy import open_postgres_source

        return open_postgres_source(place)
    from ..log.sqlite_copy import open_sqlite_source

    return open_sqlite_source(place)


def open_target(place: Place) -> AbstractAsyncContextManager[CopyTarget]:
    """The log at a place, to be copied to."""
    if isinstance(place, PostgresAddress):
        from ..log.postgres_copy import open_postgres_target

        return open_postgres_target(place)
    from ..log.sqlite_copy import open_sqlite_target

    return open_sqlite_target(place)


@contextmanager
def _progress(*, shown: bool) -> Iterator[Note]:
    """Show a progress bar if `shown`, and yield the function that moves it."""
    if not shown:
        yield lambda copied, count: None
        return
    began, first = time.monotonic(), -1
    with click.progressbar(length=1, label="Copying", file=sys.stderr, show_pos=True) as bar:

        def note(copied: int, count: int) -> None:
            nonlocal first
            first = copied if first < 0 else first
            bar.length = max(count, copied, 1)
            bar.label = f"Copying, {(copied - first) / max(time.monotonic() - began, 0.001):,.0f} messages/s"
            bar.update(copied - bar.pos)

        yield note


def summary(copied: Copied, took_s: float) -> str:
    """Summary of a copy that is finished, for a person."""
    lines = [
        f"copied in {took_s:.1f} s: messages {copied.messages}, cursors {copied.cursors}, keys {copied.keys}",
        *[f"copied by an attempt before: messages {copied.earlier}"] * bool(copied.earlier),
        *[f"damaged and left out, which listeners are told as a gap: messages {copied.damaged}"] * bool(copied.damaged),
    ]
    return "\n".join(lines)
