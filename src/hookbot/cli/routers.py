"""``hookbot routers`` and ``hookbot new-router``: for those who run routers, and those who write them."""

import json
import os
from collections.abc import Sequence
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import click
import trio

from ..client.address import Address
from ..client.http import ask
from ..hub.secret_store import KEY, KEY_FILE, known_secret
from ..protocol.paths import ROUTERS
from ..routers import API_VERSION
from ..routers.attempts import describe
from ..routers.hub_url import HubUrl
from ..routers.loading import installed_routers
from .new_router import write_new_router
from .parameters import data_dir
from .tables import table

COLUMNS = ("name", "state", "lag", "routed", "published", "failed", "retried", "restarts", "error")


@click.command()
@click.option("--url", "-u", envvar="HOOKBOT_URL", help="Of a hub; shows those that run there, and how they are.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@data_dir
@click.pass_obj
def routers(given: dict[str, str | None], url: str | None, as_json: bool, data_dir: Path) -> None:
    """List the routers that are installed, or with --url those that run in a hub.

    \b
    Examples:
      hookbot routers
      hookbot routers --url https://TOKEN@hub.example.org
    """
    if url is None:
        rows = [_describe(entry) for entry in installed_routers().values()]
        columns: Sequence[str] = ("name", "topics", "package", "about")
    else:
        key = known_secret(given["key"], KEY, os.environ, data_dir / KEY_FILE)
        rows = trio.run(fetch_snapshots, HubUrl(Address.parse(url), key))
        columns = COLUMNS
    click.echo(json.dumps(rows, indent=2) if as_json else table(columns, rows))
    if url is None and not as_json:
        click.echo(f"\nRun one with: hookbot serve --router NAME   (router API {API_VERSION})")


@click.command("new-router")
@click.argument("name")
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
def new_router(name: str, directory: Path) -> None:
    """Write the package of a new router NAME into DIRECTORY: it installs, passes its tests, and runs.

    \b
    Example:
      hookbot new-router jira hookbot-jira
    """
    for path in write_new_router(name, directory):
        click.echo(path)
    click.echo(f"\nNext: cd {directory}; pip install -e '.[test]'; pytest; hookbot serve --router {name}")


async def fetch_snapshots(remote: HubUrl) -> list[dict[str, Any]]:
    """How the routers of a hub are. Raises `Refused` or `Lost`."""
    snapshots: list[dict[str, Any]] = (await ask(remote.at(ROUTERS)))["routers"]
    return snapshots


def _describe(entry: EntryPoint) -> dict[str, Any]:
    package = f"{entry.dist.name} {entry.dist.version}" if entry.dist else "?"
    try:
        router = entry.load()
    except (Exception, SystemExit) as error:
        return {"name": entry.name, "topics": [], "package": package, "about": f"cannot be imported: {describe(error)}"}
    topics = getattr(router, "topics", None)
    about = (router.__doc__ or "").strip().partition("\n")[0]
    return {
        "name": entry.name,
        "topics": list(topics) if isinstance(topics, list | tuple) else ["as configured"],
        "package": package,
        "about": about,
    }
