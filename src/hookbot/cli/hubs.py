"""``hookbot hubs``: the hubs that share a store."""

from pathlib import Path
from typing import Any

import click

from ..errors import ConfigError
from ..hub.config import parse_store
from ..hub.config_file import ConfigFile
from ..log.postgres_address import PostgresAddress
from .display import table, to_json, utc
from .parameters import EXISTING_FILE, STORE, json_rows

COLUMNS = ("hub", "version", "since", "seen", "lag", "duties", "differs", "position")


@click.command()
@click.option(
    "--store",
    type=STORE,
    envvar="HOOKBOT_STORE",
    metavar="postgresql://...",
    help="Database of the hubs. Default: that of the configuration file.",
)
@click.option(
    "--config", type=EXISTING_FILE, envvar="HOOKBOT_CONFIG", metavar="FILE", help="Read the store from this TOML file."
)
@json_rows
def hubs(store: str | PostgresAddress | None, config: Path | None, as_json: bool) -> None:
    """List the hubs that share a database.

    It needs no hub that runs. LAG is the number of positions that a hub has not told its listeners of, DIFFERS what is
    another in its configuration than in that of the oldest hub.

    \b
    Example:
      hookbot hubs --store postgresql://hookbot@db.example.com/hookbot
    """
    import trio

    rows = trio.run(_describe, _shared(store, config))
    click.echo(to_json(rows) if as_json else table(COLUMNS, map(_shown, rows)))


def _shared(store: str | PostgresAddress | None, config: Path | None) -> PostgresAddress:
    """The address that was given, or that of the file. Raises `ConfigError`."""
    if store is None and config is not None:
        written = ConfigFile.read(config).options.get("store", "sqlite:")
        store = parse_store(written) if isinstance(written, str) else None
    if store is None:
        raise click.UsageError("Needs --store, or --config with one.")
    if not isinstance(store, PostgresAddress):
        raise ConfigError(f"a store {store!r} has one hub: hubs share one that begins with postgresql://")
    return store


async def _describe(address: PostgresAddress) -> list[dict[str, Any]]:
    from ..broker.hubs import describe_hubs
    from ..log.postgres_hubs import read_family

    return describe_hubs(await read_family(address))


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    counts = {"cursors": row["cursors"], "groups": row["groups"]}
    duties = ["trim"] * row["trims"] + row["routers"] + [f"{count} {what}" for what, count in counts.items() if count]
    return {
        "hub": row["url"] or row["id"],
        "version": row["version"],
        "since": utc(row["since"]),
        "seen": f"{row['seen_ago_s']:.0f}s ago",
        "position": row["position"],
        "lag": row["lag"],
        "duties": duties,
        "differs": row["differs"],
    }
