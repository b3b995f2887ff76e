"""``hookbot routers``, ``new-router``, ``route`` and ``route-github``: for those who run routers, or write them."""

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import click
import trio

from ..client.address import Address
from ..client.http import ask
from ..errors import ConfigError, first_error
from ..hub.config_file import ConfigFile
from ..hub.logging_setup import set_up_logging
from ..hub.secret_store import GITHUB_SECRET, GITHUB_SECRET_FILE, known_secret, resolve_secret
from ..protocol.message import Message
from ..protocol.paths import ROUTERS
from ..routers import API_VERSION, Publish, Secret
from ..routers.attempts import describe
from ..routers.github import GitHubRouter
from ..routers.hub_url import HubUrl
from ..routers.loading import installed_routers, make
from ..routers.remote import RemoteRunner
from ..routers.runner import RouterSpec, name_of
from .display import table
from .new_router import write_new_router
from .parameters import EXISTING_FILE, Given, data_dir, known_key, parse_header, parse_option

COLUMNS = ("name", "state", "lag", "routed", "published", "failed", "retried", "restarts", "error")


@click.command()
@click.option("--url", "-u", envvar="HOOKBOT_URL", help="Of a hub; shows those that run there, and how they are.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@data_dir
@click.pass_obj
def routers(given: Given, url: str | None, as_json: bool, data_dir: Path) -> None:
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
        rows = trio.run(fetch_snapshots, HubUrl(Address.parse(url), known_key(given, data_dir)))
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
    """States of the routers of a hub. Raises `Refused` or `Lost`."""
    snapshots: list[dict[str, Any]] = (await ask(remote.at(ROUTERS)))["routers"]
    return snapshots


@click.command()
@click.argument("router", metavar="NAME")
@click.option("--url", "-u", envvar="HOOKBOT_URL", required=True, help="Of the hub, or of the one topic to read there.")
@click.option("--publish-token", envvar="HOOKBOT_PUBLISH_TOKEN", help="Opens what the router publishes to.")
@click.option("--cursor", help="The hub remembers the place under this name. Default: the router's name.")
@click.option("--config", type=EXISTING_FILE, envvar="HOOKBOT_CONFIG", help="Has the options, in [routers.NAME].")
@click.option("--option", "-o", "options", multiple=True, metavar="NAME=VALUE", help="One of the router's options.")
@click.option("--cafile", type=EXISTING_FILE, help="Trust these certificate authorities.")
@data_dir
@click.pass_obj
def route(given: Given, /, router: str, url: str, options: Sequence[str], **others: Any) -> None:
    """Run the router NAME (installed, or a file) here, beside a hub anywhere, as if it ran inside.

    The token in the URL has to open what the router reads, and what it publishes to, unless there is another for
    that, or the key (HOOKBOT_KEY), of which all are made.

    \b
    Examples:
      hookbot route jira --url https://TOKEN@hub.example.org
      hookbot route ./jira.py --url https://TOKEN@hub.example.org/sub/jira/ -o 'ignore="TEST"'
    """
    set_up_logging("text", "info")
    spec = RouterSpec.parse(router, {**_section(router, others["config"]), **dict(map(parse_option, options))})
    address = Address.parse(url)
    key = given["key"]
    if not key and not address.authorization:
        key = known_key(given, others["data_dir"])
    remote = HubUrl(address, key, others["publish_token"], ca_file=others["cafile"])
    _run(RemoteRunner(spec.name, make(spec.kind, spec.options, resolve_secret), remote, others["cursor"], spec.limits))


@click.command("route-github")
@click.option("--monitor-url", "-u", required=True, help="The subscription to read, with its token.")
@click.option("--origin", default="samehost", show_default=True, help="The Origin of the handshake.")
@click.option("--header", "-H", "headers", multiple=True, metavar="'K: V'", help="A header of the handshake.")
@data_dir
@click.pass_obj
def route_github(given: Given, monitor_url: str, origin: str, headers: Sequence[str], data_dir: Path) -> None:
    """Run the GitHub router as a process of its own: read a subscription, verify, publish to the same host.

    \b
    Example:
      hookbot route-github -u wss://TOKEN@hub.example.org/unsafe/sub/github.com/
    """
    set_up_logging("text", "info")
    address = Address.parse(monitor_url)
    secret = known_secret(given["github_secret"], GITHUB_SECRET, os.environ, data_dir / GITHUB_SECRET_FILE)
    key = known_key(given, data_dir)
    if not secret or not key:
        raise ConfigError("route-github needs HOOKBOT_GITHUB_SECRET, to verify, and HOOKBOT_KEY, to publish")
    origin = f"//{address.netloc}" if origin == "samehost" else origin
    remote = HubUrl(address, key, headers=(*map(parse_header, headers), ("Origin", origin)))
    _run(
        RemoteRunner(
            "github", VerifyingGitHubRouter([Secret(secret)]), remote, None, RouterSpec("github", "github").limits
        )
    )


class VerifyingGitHubRouter(GitHubRouter):
    """A GitHub router that believes nobody, not even a hub that says it has verified a message."""

    async def route(self, message: Message, publish: Publish) -> None:
        """Like the router in the hub, but the signature is always checked here."""
        await super().route(replace(message, verified=None), publish)


def _run(runner: RemoteRunner) -> None:
    """Run until Ctrl-C; raises what ended it."""
    try:
        trio.run(runner.run)
    except BaseExceptionGroup as group:
        error = first_error(group)
        if isinstance(error, KeyboardInterrupt):
            raise click.exceptions.Abort from None
        raise error from None


def _section(router: str, path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    return dict(ConfigFile.read(path).routers.get(name_of(router), {}))


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
