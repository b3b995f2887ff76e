"""``hookbot route`` and ``route-github``: a router as a process of its own, outside the hub."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import ConfigError, HookbotError, describe, first_error
from ..hub.config_file import ConfigFile
from ..hub.logging_setup import logging_to_stderr
from ..hub.secret_store import KEY, is_given, resolve_secret
from ..hub.shutdown_limit import LEFT_BEHIND_S, ShutdownLimit
from ..routers import Router, Secret
from ..routers.loading import installed_routers
from .credentials import clean_token, key_for, known_github_secret
from .main import FAILED, INTERRUPTED
from .parameters import EXISTING_FILE, Given, cafile, completed, data_dir, parse_header, parse_option

if TYPE_CHECKING:
    from ..routers.hub_url import HubUrl
    from ..routers.remote import RemoteRunner
    from ..routers.runner import RouterMaker, RouterSpec


@click.command()
@click.argument("router", metavar="NAME", shell_complete=completed(installed_routers, or_file=True))
@click.option(
    "--url", "-u", envvar="HOOKBOT_URL", required=True, metavar="URL", help="URL of the hub, or of the topic to read."
)
@click.option("--publish-token", envvar="HOOKBOT_PUBLISH_TOKEN", metavar="TOKEN", help="Token to publish with.")
@click.option("--cursor", metavar="NAME", help="Cursor at the hub. Default: router-NAME.")
@click.option(
    "--config", type=EXISTING_FILE, envvar="HOOKBOT_CONFIG", help="TOML file with its options in [routers.NAME]."
)
@click.option(
    "--option", "-o", "options", multiple=True, metavar="NAME=VALUE", help="Option of the router. Repeatable."
)
@cafile
@data_dir
@click.pass_obj
@logging_to_stderr("text", "info")
def route(given: Given, /, router: str, url: str, options: Sequence[str], **others: Any) -> None:
    """Run a router as a process of its own, outside the hub.

    NAME is the name of an installed router, or a file. The token in the URL must open what the router reads and, unless
    --publish-token does, what it publishes to. Tokens that are not given are made from the hub's key (HOOKBOT_KEY).

    \b
    Examples:
      hookbot route jira --url https://TOKEN@hub.example.org
      hookbot route ./jira.py --url https://TOKEN@hub.example.org/sub/jira/ -o 'ignore="TEST"'
    """
    from ..client.address import Address
    from ..routers.hub_url import HubUrl
    from ..routers.runner import RouterSpec

    spec = RouterSpec.parse(router, {**_section(router, others["config"]), **dict(map(parse_option, options))})
    address = Address.parse(url)
    # A key in the data directory may be another hub's: it is used only if the URL has no token.
    needs_key = is_given(given["key"], KEY, os.environ) or not address.authorization
    key = key_for(given, others["data_dir"], address) if needs_key else None
    publish_token = others["publish_token"] and clean_token(others["publish_token"], "--publish-token")
    remote = HubUrl(address, key, publish_token, ca_file=others["cafile"])
    _run(spec, remote, others["cursor"])


@click.command("route-github")
@click.option(
    "--monitor-url", "-u", required=True, metavar="URL", help="URL of the subscription to read, with its token."
)
@click.option("--origin", default="samehost", show_default=True, help="Origin header of the handshake.")
@click.option("--header", "-H", "headers", multiple=True, metavar="'K: V'", help="Header of the handshake. Repeatable.")
@data_dir
@click.pass_obj
@logging_to_stderr("text", "info")
def route_github(given: Given, monitor_url: str, origin: str, headers: Sequence[str], data_dir: Path) -> None:
    """Run the GitHub router outside the hub.

    It reads a subscription, verifies each message, and publishes to the same hub. This needs the secret of GitHub
    (HOOKBOT_GITHUB_SECRET) and the key of the hub (HOOKBOT_KEY).

    \b
    Example:
      hookbot route-github -u wss://TOKEN@hub.example.org/unsafe/sub/github.com/
    """
    from ..client.address import Address
    from ..routers.github import VerifyingGitHubRouter
    from ..routers.hub_url import HubUrl
    from ..routers.runner import RouterSpec

    address = Address.parse(monitor_url)
    secret = known_github_secret(given, data_dir)
    key = key_for(given, data_dir, address)
    if not secret or not key:
        raise ConfigError("route-github needs HOOKBOT_GITHUB_SECRET, to verify, and HOOKBOT_KEY, to publish")
    origin = f"//{address.netloc}" if origin == "samehost" else origin
    remote = HubUrl(address, key, headers=(*map(parse_header, headers), ("Origin", origin)))
    _run(RouterSpec("github", VerifyingGitHubRouter, {"secrets": [Secret(secret)]}), remote, None)


def _make_first(spec: RouterSpec, maker: RouterMaker) -> Router:
    """The router of the first start. Raises `ConfigError` for wrong options, `HookbotError` if its own code fails."""
    import trio

    from ..routers.threads import exit_as_error

    try:
        with exit_as_error():
            return trio.run(maker.make_first)
    except ConfigError:
        raise
    # Its module or constructor may raise anything.
    except Exception as error:
        raise HookbotError(f"the router {spec.name} cannot be created: {describe(error)}") from error


def _run(spec: RouterSpec, hub: HubUrl, cursor: str | None) -> None:
    """Run a router until an error ends it, which is raised, or until Ctrl-C, which raises `Abort`."""
    import trio

    from ..routers.remote import RemoteRunner
    from ..routers.runner import RouterMaker

    maker = RouterMaker(spec, resolve_secret)
    router = _make_first(spec, maker)
    runner = RemoteRunner(spec.name, router.topics, maker, hub, cursor, spec.limits)
    limit = ShutdownLimit()
    try:
        # A Ctrl-C is never raised in the router's code, which might handle it like any other error.
        trio.run(_run_until_left, runner, limit, restrict_keyboard_interrupt_to_checkpoints=True)
    except BaseExceptionGroup as group:
        error = first_error(group)
        if isinstance(error, KeyboardInterrupt):
            raise click.exceptions.Abort from None
        raise error from None
    finally:
        limit.stop()


async def _run_until_left(runner: RemoteRunner, limit: ShutdownLimit) -> None:
    try:
        await runner.run()
    # Trio would still wait for tasks of the router that cannot be cancelled.
    except BaseException as error:
        if isinstance(first_error(error), KeyboardInterrupt):
            limit.start(LEFT_BEHIND_S, code=INTERRUPTED)
        else:
            limit.start(LEFT_BEHIND_S, code=FAILED, error=error)
        raise


def _section(router: str, path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    from ..routers.runner import name_of

    return dict(ConfigFile.read(path).routers.get(name_of(router), {}))
