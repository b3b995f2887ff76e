"""``hookbot route`` and ``hookbot route-github``: a router as a process of its own, beside any hub."""

import os
import tomllib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import trio

from ..client.address import Address
from ..errors import ConfigError
from ..hub.config_file import ConfigFile
from ..hub.logging_setup import set_up_logging
from ..hub.secret_store import GITHUB_SECRET, GITHUB_SECRET_FILE, KEY, KEY_FILE, known_secret, resolve_secret
from ..protocol.message import Message
from ..routers import Publish, Secret
from ..routers.github import GitHubRouter
from ..routers.hub_url import HubUrl
from ..routers.loading import make
from ..routers.remote import RemoteRunner
from ..routers.runner import RouterSpec, name_of
from .parameters import EXISTING_FILE, data_dir


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
def route(given: dict[str, str | None], /, router: str, url: str, options: Sequence[str], **others: Any) -> None:
    """Run the router NAME (installed, or a file) here, beside a hub anywhere, as if it ran inside.

    The token in the URL has to open what the router reads, and what it publishes to, unless there is another for
    that, or the key (HOOKBOT_KEY), of which all are made.

    \b
    Examples:
      hookbot route jira --url https://TOKEN@hub.example.org
      hookbot route ./jira.py --url https://TOKEN@hub.example.org/sub/jira/ -o 'ignore="TEST"'
    """
    set_up_logging("text", "info")
    spec = RouterSpec.parse(router, {**_section(router, others["config"]), **dict(map(_option, options))})
    address = Address.parse(url)
    key = given["key"]
    if not key and not address.authorization:
        key = known_secret(None, KEY, os.environ, others["data_dir"] / KEY_FILE)
    remote = HubUrl(address, key, others["publish_token"], ca_file=others["cafile"])
    _run(RemoteRunner(spec.name, make(spec.kind, spec.options, resolve_secret), remote, others["cursor"], spec.limits))


@click.command("route-github")
@click.option("--monitor-url", "-u", required=True, help="The subscription to read, with its token.")
@click.option("--origin", default="samehost", show_default=True, help="The Origin of the handshake.")
@click.option("--header", "-H", "headers", multiple=True, metavar="'K: V'", help="A header of the handshake.")
@data_dir
@click.pass_obj
def route_github(
    given: dict[str, str | None], monitor_url: str, origin: str, headers: Sequence[str], data_dir: Path
) -> None:
    """Run the GitHub router as a process of its own: read a subscription, verify, publish to the same host.

    \b
    Example:
      hookbot route-github -u wss://TOKEN@hub.example.org/unsafe/sub/github.com/
    """
    set_up_logging("text", "info")
    address = Address.parse(monitor_url)
    secret = known_secret(given["github_secret"], GITHUB_SECRET, os.environ, data_dir / GITHUB_SECRET_FILE)
    key = known_secret(given["key"], KEY, os.environ, data_dir / KEY_FILE)
    if not secret or not key:
        raise ConfigError("route-github needs HOOKBOT_GITHUB_SECRET, to verify, and HOOKBOT_KEY, to publish")
    origin = f"//{address.netloc}" if origin == "samehost" else origin
    remote = HubUrl(address, key, headers=(*map(_header, headers), ("Origin", origin)))
    _run(
        RemoteRunner(
            "github", VerifyingGitHubRouter([Secret(secret)]), remote, None, RouterSpec("github", "github").limits
        )
    )


class VerifyingGitHubRouter(GitHubRouter):
    """Believes nobody, not even a hub that says it has verified a message."""

    async def route(self, message: Message, publish: Publish) -> None:
        """Like the router in the hub, but the signature is always checked here."""
        await super().route(replace(message, verified=None), publish)


def _run(outside: RemoteRunner) -> None:
    """Until Ctrl-C; raises what ended it."""
    try:
        trio.run(outside.run)
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        if isinstance(error, KeyboardInterrupt):
            raise click.exceptions.Abort from None
        raise error from None


def _section(router: str, path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    return dict(ConfigFile.read(path).routers.get(name_of(router), {}))


def _option(text: str) -> tuple[str, Any]:
    """``name=value``, the value as in TOML, or plain text where it is none."""
    name, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(f"an option is NAME=VALUE, not {text!r}")
    try:
        return name.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return name.strip(), value


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise ConfigError(f"a header is 'Name: value', not {text!r}")
    return name.strip(), value.strip()
