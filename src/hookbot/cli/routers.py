"""``hookbot routers`` and ``new-router``: the routers that are installed or running, and a package for a new one."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import click

from ..errors import describe
from ..hub.shutdown_limit import LEFT_BEHIND_S, ShutdownLimit
from ..protocol.paths import ROUTERS
from ..routers import API_VERSION
from ..routers.loading import installed_routers
from .display import table, to_json
from .hub_api import ask_at
from .new_router import write_new_router
from .parameters import Given, cafile, data_dir, json_rows
from .topics import is_profile_named, profile

COLUMNS = ("name", "state", "lag", "routed", "published", "failed", "retried", "restarts", "error")


@click.command()
@click.option("--url", "-u", envvar="HOOKBOT_URL", metavar="URL", help="List those of this hub, with their state.")
@json_rows
@profile
@cafile
@data_dir
@click.pass_obj
def routers(given: Given, url: str | None, as_json: bool, cafile: Path | None, data_dir: Path) -> None:
    """List the installed routers, or those of a hub.

    With --url or --profile, show the state of each router that runs in the hub. The token must open
    /hookbot/v1/routers; if the URL has none, it is made from the key (HOOKBOT_KEY).

    \b
    Examples:
      hookbot routers
      hookbot routers --url https://TOKEN@hub.example.org
    """
    from ..client.http import rows as rows_of

    installed = url is None and not is_profile_named()
    columns: Sequence[str] = COLUMNS
    if installed:
        limit = ShutdownLimit()
        rows = [_describe(entry) for entry in installed_routers().values()]
        limit.start_if_needed(LEFT_BEHIND_S, code=0)
        columns = ("name", "topics", "package", "about")
    else:
        rows = rows_of(ask_at(given, url, data_dir, cafile)("GET", ROUTERS), "routers")
    click.echo(to_json(rows) if as_json else table(columns, rows))
    if installed and not as_json:
        click.echo(f"\nRun one with: hookbot serve --router NAME   (router API {API_VERSION})")


@click.command("new-router")
@click.argument("name")
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
def new_router(name: str, directory: Path) -> None:
    """Write a package for the router NAME into DIRECTORY.

    DIRECTORY must be new or empty. The package installs, passes its tests, and runs.

    \b
    Example:
      hookbot new-router jira hookbot-jira
    """
    for path in write_new_router(name, directory):
        click.echo(path)
    click.echo(f"\nNext: cd {directory}; pip install -e '.[test]'; pytest; hookbot serve --router {name}")


def _describe(entry: EntryPoint) -> dict[str, Any]:
    import trio

    from ..routers.threads import exit_as_error, run_within_limit

    assert entry.dist is not None, "only an entry point made by hand has no distribution"
    package = f"{entry.dist.name} {entry.dist.version}"
    try:
        with exit_as_error():
            router = trio.run(run_within_limit, entry.load)
    # A third-party module may raise anything when it is imported.
    except Exception as error:  # noqa: BLE001
        return {"name": entry.name, "topics": [], "package": package, "about": f"cannot be imported: {describe(error)}"}
    topics = getattr(router, "topics", None)
    about = (router.__doc__ or "").strip().partition("\n")[0]
    return {
        "name": entry.name,
        "topics": list(topics) if isinstance(topics, list | tuple) else ["as configured"],
        "package": package,
        "about": about,
    }
