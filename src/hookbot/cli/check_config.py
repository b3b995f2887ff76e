"""``hookbot check-config``: every mistake in a configuration file."""

import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import click
import trio

from ..errors import ConfigError, describe
from ..hub.config import Config
from ..hub.config_file import ConfigFile
from ..hub.reload import make_tls
from ..hub.secret_store import StoredSecret, resolve_secret
from ..hub.sections import read_routers, read_sources
from ..routers.apart import apart_in_time
from ..routers.loading import make
from ..routers.runner import RouterSpec
from .parameters import EXISTING_FILE
from .serve import make_config, serve

_ANY_SECRET = StoredSecret("0" * 64)
"""Placeholder for the key and GitHub's secret, which a check neither reads nor creates."""


@click.command("check-config")
@click.argument("path", type=EXISTING_FILE, metavar="FILE")
def check_config(path: Path) -> None:
    """Check a configuration file and report every mistake.

    Each mistake is printed with its line and its reason; the exit code is 2 if there is any.

    \b
    Example:
      hookbot check-config hookbot.toml
    """
    problems = list(dict.fromkeys(_problems(path)))
    for problem in problems:
        click.echo(problem, err=True)
    if problems:
        sys.exit(2)
    click.echo(f"{path}: no mistakes found")


def _problems(path: Path) -> Iterator[str]:
    try:
        file = ConfigFile.read(path)
        read = list(serve.read_options(file))
        yield from (str(one) for one in read if isinstance(one, ConfigError))
        options = dict(one for one in read if not isinstance(one, ConfigError))
        with serve.make_context("serve", [], default_map=options) as context:
            config = make_config(context.params, file, key=_ANY_SECRET, github_secrets=(_ANY_SECRET,))
    except click.ClickException as error:
        # Only valid options of the file reach click, so the mistake is in a variable.
        yield f"in the environment: {error.format_message()}"
    except ConfigError as error:
        yield str(error)
    else:
        yield from _problems_of(config)


def _problems_of(config: Config) -> Iterator[str]:
    for one in (*read_sources(config), *read_routers(config)):
        if isinstance(one, ConfigError):
            yield str(one)
        elif isinstance(one, RouterSpec):
            yield from _problems_of_router(one, config)
    try:
        make_tls(config)
    except ConfigError as error:
        yield str(error)


def _problems_of_router(spec: RouterSpec, config: Config) -> Iterator[str]:
    try:
        trio.run(apart_in_time, partial(make, spec.kind, spec.options, resolve_secret))
    # The module or the constructor of a router may raise anything.
    except Exception as error:  # noqa: BLE001
        reason = str(error) if isinstance(error, ConfigError) else f"the router cannot be created: {describe(error)}"
        yield str(config.file.error(f"[routers.{spec.name}]: {reason}", header=f"routers.{spec.name}"))
