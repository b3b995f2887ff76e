"""``hookbot check-config``: what is wrong with a configuration file."""

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from ..errors import ConfigError
from ..hub.config import Config
from ..hub.config_file import ConfigFile
from ..hub.reload import make_tls
from ..hub.secret_store import StoredSecret, resolve_secret
from ..hub.sections import read_routers, read_sources
from ..routers.loading import make
from ..routers.runner import RouterSpec
from .parameters import EXISTING_FILE
from .serve import make_config, serve

_ANY_SECRET = StoredSecret("0" * 64)
"""In place of those that a hub would look for, or make."""


@click.command("check-config")
@click.argument("path", type=EXISTING_FILE, metavar="FILE")
def check_config(path: Path) -> None:
    """Say what is wrong with a configuration file, with line and reason; exit with 2 if anything is.

    \b
    Example:
      hookbot check-config hookbot.toml
    """
    problems = list(dict.fromkeys(_problems(path)))
    for problem in problems:
        click.echo(problem, err=True)
    if problems:
        sys.exit(2)
    click.echo(f"{path}: nothing is wrong")


def _problems(path: Path) -> Iterator[str]:
    try:
        file = ConfigFile.read(path)
        read = list(serve.read_options(file))
        yield from (str(one) for one in read if isinstance(one, ConfigError))
        options = dict(one for one in read if not isinstance(one, ConfigError))
        with serve.make_context("serve", [], default_map=options) as context:
            config = make_config(context.params, file, key=_ANY_SECRET, github_secrets=(_ANY_SECRET,))
    except click.ClickException as error:  # what the file says has been looked at
        yield f"from the environment: {error.format_message()}"
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
        make(spec.kind, spec.options, resolve_secret)
    except Exception as error:  # whatever a plugin raises
        reason = str(error) if isinstance(error, ConfigError) else f"it cannot be made: {error!r}"
        yield str(config.file.error(f"[routers.{spec.name}]: {reason}", header=f"routers.{spec.name}"))
