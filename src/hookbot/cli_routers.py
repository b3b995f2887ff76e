"""``hookbot routers`` and ``hookbot new-router``: for those who run routers, and those who write them."""

import json
import os
from collections.abc import Mapping, Sequence
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import click
import trio

from .cli_types import data_dir
from .client.address import Address
from .client.answers import error_of
from .client.publishing import open_client
from .config import KEY, KEY_FILE, known_secret
from .routers import API_VERSION
from .routers.failed import describe
from .routers.loading import installed_routers
from .routers.new import write_new_router
from .routers.remote import Remote

SNAPSHOTS = "/hookbot/v1/routers"
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
        rows = trio.run(fetch_snapshots, Remote(Address.parse(url), key))
        columns = COLUMNS
    click.echo(json.dumps(rows, indent=2) if as_json else _table(columns, rows))
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


async def fetch_snapshots(remote: Remote) -> list[dict[str, Any]]:
    """How the routers of a hub are. Raises `Refused` or `Lost`."""
    address = remote.at(SNAPSHOTS)
    async with open_client(address) as client:
        headers = {"Authorization": address.authorization} if address.authorization else {}
        answer = await client.get(address.url, headers=headers)
    if answer.status_code != 200:
        raise error_of(answer.status_code, {k.lower(): v for k, v in answer.headers.items()}, answer.content)
    snapshots: list[dict[str, Any]] = answer.json()["routers"]
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


def _table(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    cells = [[column.upper() for column in columns], *([_text(row.get(column)) for column in columns] for row in rows)]
    widths = [max(len(line[index]) for line in cells) for index in range(len(columns))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in cells)
    return "\n".join(line.rstrip() for line in lines)


def _text(value: Any) -> str:
    text = ", ".join(value) if isinstance(value, list) else str(value)
    return "".join(char if char.isprintable() else " " for char in text)
